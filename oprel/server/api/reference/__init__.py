"""The description of the API as an OpenAPI document, made from the routes and their wire types."""
