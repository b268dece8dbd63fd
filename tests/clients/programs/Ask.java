import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** Java's default client offers an upgrade to HTTP/2 with each request. Usage: Ask.java URL; prints what came. */
public class Ask {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        var whole = client.send(request(arguments[0], false), BodyHandlers.ofString());
        System.out.println(whole.statusCode());
        System.out.println(whole.body().strip());
        var streamed = client.send(request(arguments[0], true), BodyHandlers.ofLines());
        System.out.println(streamed.statusCode());
        streamed.body().forEach(System.out::println);
    }

    static HttpRequest request(String url, boolean stream) {
        String body = "{\"model\": \"guide\", \"prompt\": \"hi\", \"stream\": " + stream
            + ", \"options\": {\"temperature\": 0, \"num_predict\": 40}}";
        return HttpRequest.newBuilder(URI.create(url + "/api/generate"))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
    }
}
