"""Repositories as publishers fill them: what a name chooses in the listings of tests/data/listings.

A listing is the repository's name, then indented lines:

    NAME-{A,B/3}.gguf   models, of which people write what is in the braces; 3 parts of B; `{}` before means the same
    NAME.gguf           a model without a name of its own
    projector FILE      the projector that comes along; `projector A > FILE`: with A
    other ROLE FILE     another file; ROLE is what its header says, `file` for other formats than GGUF
    A > FILE            another name people write (`default`: none), and the first file of what they mean
    refused A           a name that nothing is found by
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.exceptions import OprelError
from oprel.core.names import DEFAULT_TAG, ModelRef, hub_name, hub_origin
from oprel.core.variants import RepoFile, Variant, other_variants, projectors_for, variants
from oprel.downloader.offers import NoSuchVariant, Repository, tag_of, usual, wanted
from oprel.downloader.source import is_allowed
from oprel.formats.gguf import GGUFFile
from oprel.formats.headers.roles import Role

LISTINGS = Path(__file__).parents[2] / "data/listings"
ROLES = {
    "projector": Role.PROJECTOR,
    "draft": Role.DRAFT,
    "adapter": Role.ADAPTER,
    "matrix": Role.IMPORTANCE_MATRIX,
    "vocabulary": Role.VOCABULARY,
    "component": Role.COMPONENT,
}
NOT_THERE = "Q7_Z"


@dataclass
class Listing:
    """`means`: the files by what people write, none if it is refused. `projectors`: by a first file, "" for others."""

    repository: str
    means: dict[str, tuple[str, ...]] = field(default_factory=dict)
    projectors: dict[str, str] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        match line.split(" ", 2):
            case ["other", role, file]:
                self.files.append(file)
                if role in ROLES:
                    self.roles[file] = ROLES[role]
            case ["refused", name]:
                self.means[name] = ()
            case ["projector", *rest]:
                name, _, file = " ".join(rest).rpartition(" > ")
                self.projectors[self.means[name][0] if name else ""] = file
                self.roles[file] = Role.PROJECTOR
            case _ if " > " in line:
                name, file = line.split(" > ")
                self.means[name] = next(files for files in [*self.means.values(), self.parts(file)] if file in files)
            case _:
                self.models(line)

    def models(self, line: str) -> None:
        braces = re.search(r"\{([^{}]+)\}", line)
        for each in braces[1].split(",") if braces else [""]:
            name, _, count = each.partition("/")
            path = line.replace(braces[0], name).replace("{}", name) if braces else line
            files = shards(path, int(count or 1))
            self.files += files
            for written in {name, name.lower(), files[0], files[0].rpartition("/")[2]} - {""}:
                self.means[written] = () if written in self.means else files

    def parts(self, file: str) -> tuple[str, ...]:
        assert file in self.files, file
        return (file,)

    @property
    def all_files(self) -> list[RepoFile]:
        """In sizes by which a projector or draft is smaller than a model."""
        everything = dict.fromkeys([*self.files, *self.projectors.values()])
        return [RepoFile(file, 1 if file in self.roles else 10) for file in everything if is_allowed(file)]


def shards(path: str, count: int) -> tuple[str, ...]:
    if count == 1:
        return (path,)
    return tuple(path.replace(".gguf", f"-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1))


def listings() -> Iterator[Listing]:
    for path in sorted(LISTINGS.glob("*.txt")):
        for block in path.read_text().split("\n\n"):
            lines = [line for line in block.splitlines() if line and not line.startswith("#")]
            if lines:
                listing = Listing(lines[0])
                for line in lines[1:]:
                    listing.read(line.strip())
                yield listing


def unread(variant: Variant) -> GGUFFile:
    raise AssertionError(f"no whole header of {variant.label} is needed")


class Headers:
    """The headers of a listing, and how many were read for one choice."""

    def __init__(self, listing: Listing) -> None:
        self._roles, self.read = listing.roles, set[str]()

    def role(self, variant: Variant) -> Role:
        self.read.add(variant.files[0].path)
        return self._roles.get(variant.files[0].path, Role.MODEL)


def faults(listing: Listing) -> Iterator[str]:
    """What is chosen otherwise than expected."""
    files, headers = listing.all_files, Headers(listing)
    repository = Repository(
        listing.repository, variants(files), unread, others=other_variants(files), role=headers.role
    )
    seen = set[tuple[str, ...]]()
    for name, expected in {**listing.means, NOT_THERE: ()}.items():
        headers.read.clear()
        chosen = choice(repository, name)
        if chosen != expected:
            yield f"{listing.repository}:{name} is {chosen}, not {expected}"
        if len(headers.read) > 8:
            yield f"{listing.repository}:{name} takes {len(headers.read)} headers"
        variant = next(
            (each for each in repository.variants if chosen == tuple(file.path for file in each.files)), None
        )
        if variant and chosen not in seen:
            seen.add(chosen)
            yield from faults_of(variant, listing, files, repository)


def choice(repository: Repository, name: str) -> tuple[str, ...]:
    """The files that a name chooses; none if it is refused. What is found is found by its own tag, too."""
    if not (repository.variants or repository.others):
        return ()
    tag = DEFAULT_TAG if name == "default" else name
    origin = hub_origin(ModelRef.parse(f"hf.co/{repository.title}:{tag}"))
    assert origin
    try:
        variant = wanted(repository, origin, usual)
    except OprelError as error:
        assert error.resolution_steps and (
            not isinstance(error, NoSuchVariant) or "It has" in str(error.resolution_steps)
        )
        return ()
    return tuple(file.path for file in variant.files)


def faults_of(variant: Variant, listing: Listing, files: list[RepoFile], repository: Repository) -> Iterator[str]:
    """What is wrong with the name that the model gets, and with its projector."""
    tag = tag_of(variant, repository)
    if choice(repository, hub_name("a/b", tag).partition(":")[2]) != tuple(file.path for file in variant.files):
        yield f"{listing.repository}: {tag} does not lead to {variant.files[0].path}"
    right = listing.projectors.get(variant.files[0].path) or listing.projectors.get("")
    projector = next(iter(projectors_for(files, variant)), None)
    if (projector.path if projector else None) != right:
        yield f"{listing.repository}:{variant.label} has the projector {projector}"


def test_names_choose_the_expected_file_in_all_but_one_of_a_hundred_listings() -> None:
    every = list(listings())
    wrong = {listing.repository: first for listing in every if (first := next(faults(listing), ""))}
    assert len({listing.repository for listing in every}) >= 300
    assert len(wrong) <= len(every) // 100, "\n".join(wrong.values())
    assert {listing.repository.split("/")[0] for listing in every} > {
        "unsloth",
        "bartowski",
        "TheBloke",
        "mradermacher",
    }
