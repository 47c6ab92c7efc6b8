from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import baggage as otel_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from graymw.core.carrying.wire import MAX_BYTES, MAX_MEMBERS, Members, Separated, compose, is_ours, read, separate
from graymw.core.context import Decision, GrayContext

releases = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
versions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
revisions = st.from_regex(r"[0-9a-f]{8}", fullmatch=True)
decided = st.dictionaries(releases, versions, min_size=1, max_size=8)
any_header = st.binary(max_size=200).map(lambda raw: raw.decode("latin-1"))
pieces = st.sampled_from(
    ["gray", "gray.", "gray.a", "gray-rev", "gray-sig", "=", ",", ";", "v1", " ", "\t", "%", "%2E", "%67ray.", "+", "x"]
)
gray_like = st.lists(pieces, max_size=24).map("".join)
tokens = st.text("abcxyzGRAY0189!#$&'*-.^_`|~", min_size=1, max_size=12).filter(lambda key: not is_ours(key))
octets = st.text("".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '",;\\'), max_size=20)
members = st.builds(
    lambda key, value, property_: f"{key}={value}{property_}",
    tokens,
    octets,
    st.sampled_from(["", ";p", ";p=1", " ; p = 1 ;q"]),
)


def wire(versions: dict[str, str], revision: str | None) -> str:
    decisions = [Decision(release, version, "match") for release, version in versions.items()]
    return GrayContext(decisions, revision=revision).wire


class TestSeparating:
    @pytest.mark.parametrize(
        ("values", "gray", "application"),
        [
            ((), "", ""),
            (("",), "", ""),
            (("userId=5,b=2;p=1",), "", "userId=5,b=2;p=1"),
            (("gray.checkout=v2,gray-rev=9f3c2a11",), "gray.checkout=v2,gray-rev=9f3c2a11", ""),
            (("gray.checkout=v2,gray-rev=9f3c2a11,userId=5",), "gray.checkout=v2,gray-rev=9f3c2a11", "userId=5"),
            (("userId=5,gray.checkout=v2",), "gray.checkout=v2", "userId=5"),
            (("a=1,gray.x=v1,b=2,gray-sig=1.m,c=3",), "gray.x=v1,gray-sig=1.m", "a=1,b=2,c=3"),
            (("a=1,gray.x=v1", "b=2,gray.y=v2"), "gray.x=v1,gray.y=v2", "a=1,b=2"),
            ((" gray.x = v1 ,\tb = 2;p ",), "gray.x = v1", "b = 2;p"),
        ],
    )
    def test_ours_and_theirs_come_apart(self, values: tuple[str, ...], gray: str, application: str) -> None:
        assert separate(values) == (gray, application)

    @pytest.mark.parametrize(
        "member",
        [
            "gray.=v1",
            "gray.checkout",
            "gray.UPPER=v1",
            "gray.a=v1;p=2",
            "gray-rev",
            "gray-rev;p=1",
            "gray-sig=",
            "gray.a;b",
            "gray.a==",
        ],
    )
    def test_a_malformed_member_of_ours_never_reaches_the_application(self, member: str) -> None:
        assert separate([f"a=1,{member},b=2"]) == (member, "a=1,b=2")

    @pytest.mark.parametrize(
        "member",
        [
            "%67ray.checkout=v2",
            "gray%2Echeckout=v2",
            "gr%61y.checkout=v2",
            "gra%79-rev=0",
            "+gray.a=v2",
            "%20gray.a=v2",
        ],
    )
    def test_a_key_that_decodes_to_ours_is_ours(self, member: str) -> None:
        assert separate([f"{member},b=2"]) == (member, "b=2")
        assert separate([f"a=1,{member}"]) == (member, "a=1")

    @pytest.mark.parametrize(
        "member",
        [
            "Gray.checkout=v2",
            "grey.a=1",
            "gray=1",
            "gray-revision=1",
            "team=gray.checkout",
            "x.gray.a=1",
            "graygray-rev=1",
        ],
    )
    def test_keys_that_only_look_like_ours_are_the_applications(self, member: str) -> None:
        assert separate([member]) == ("", member)
        assert separate([f"gray.a=v1,{member}"]) == ("gray.a=v1", member)

    @given(st.lists(any_header | gray_like | st.text(), max_size=4))
    def test_any_text_comes_apart(self, values: list[str]) -> None:
        gray, application = separate(values)
        assert separate([application]) == ("", application)
        assert separate([gray]) == (gray, "")

    @given(st.lists(gray_like, max_size=4))
    def test_no_member_is_lost_or_made_up(self, values: list[str]) -> None:
        def parts(text: str) -> list[str]:
            return sorted(filter(None, (member.strip(" \t") for member in text.split(","))))

        gray, application = separate(values)
        assert parts(f"{gray},{application}") == parts(",".join(values))

    @given(gray_like | any_header)
    @example("gray%2Ea=v2")
    @example("%2Bgray.a=v2")
    def test_nothing_of_ours_is_left_for_opentelemetry_to_extract(self, value: str) -> None:
        context = W3CBaggagePropagator().extract({"baggage": separate([value]).application}, Context())
        assert not any(is_ours(key) for key in otel_baggage.get_all(context))

    @given(decided, revisions | st.none(), st.lists(members, max_size=6), st.data())
    def test_ours_are_found_in_any_position_and_theirs_stay_verbatim(
        self, versions: dict[str, str], revision: str | None, theirs: list[str], data: st.DataObject
    ) -> None:
        ours = wire(versions, revision)
        places = sorted(data.draw(st.lists(st.integers(0, len(theirs)), min_size=len(ours.split(",")))))
        mixed = list(theirs)
        for member, place in zip(reversed(ours.split(",")), reversed(places), strict=False):
            mixed.insert(place, member)
        separated = separate([",".join(mixed)])
        assert separated.application == ",".join(theirs)
        assert sorted(separated.gray.split(",")) == sorted(ours.split(","))

    def test_a_long_header_is_treated_like_a_short_one(self) -> None:
        ours = wire({f"release-{number}": "v" * 60 for number in range(32)}, "9f3c2a11")
        theirs = ",".join(f"k{number}=gray" for number in range(200))
        assert separate([f"{ours},{theirs}"]) == (ours, theirs)
        assert separate([f"{theirs},{ours}"]) == (ours, theirs)


class TestReading:
    def test_versions_revision_and_signature(self) -> None:
        assert read("gray.checkout=v2,gray.search=1.10,gray-rev=9f3c2a11,gray-sig=99.abc") == Members(
            (("checkout", "v2"), ("search", "1.10")), "9f3c2a11", "99.abc"
        )

    def test_no_text_says_nothing(self) -> None:
        assert read("") == Members()

    def test_blanks_around_the_equals_sign_are_allowed(self) -> None:
        assert read("gray.a \t= v2, gray-rev =9f3c2a11").versions == (("a", "v2"),)

    @pytest.mark.parametrize(
        ("member", "fault"),
        [
            ("gray.a", "malformed"),
            ("gray.a=v1;p=1", "malformed"),
            ("gray.a;p=v1", "malformed"),
            ("gray%2Ea=v1", "malformed"),
            ("nonsense", "malformed"),
            ("gray-sig=", "malformed"),
            ("gray-rev", "malformed"),
            ("gray.=v1", "bad-release"),
            ("gray.A=v1", "bad-release"),
            ("gray.-a=v1", "bad-release"),
            (f"gray.{'a' * 64}=v1", "bad-release"),
            ("gray.a=", "bad-version"),
            ("gray.a=-v1", "bad-version"),
            ("gray.a=v+1", "bad-version"),
            ("gray.a=v%32", "bad-version"),
            ("gray.a=v 2", "bad-version"),
            ("gray.a=v1\n", "bad-version"),
            ("gray.a=vé", "bad-version"),
            (f"gray.a={'v' * 65}", "bad-version"),
            ("gray-rev=9F3C2A11", "bad-revision"),
            ("gray-rev=9f3c2a1", "bad-revision"),
            ("gray-rev=", "bad-revision"),
        ],
    )
    def test_what_cannot_be_used_is_ignored_and_named(self, member: str, fault: str) -> None:
        assert read(f"{member},gray.good=v7") == Members((("good", "v7"),), faults=(fault,))

    @pytest.mark.parametrize("second", ["gray.a=v3", "gray.a=v2", "gray.a=!!", "gray.a", "gray.a=v2;p", "gray.a;p=v2"])
    def test_of_a_doubled_release_no_member_counts(self, second: str) -> None:
        for text in (f"gray.a=v2,gray.b=v1,{second}", f"{second},gray.b=v1,gray.a=v2"):
            found = read(text)
            assert found.versions == (("b", "v1"),)
            assert "doubled" in found.faults

    def test_a_doubled_revision_or_signature_does_not_count(self) -> None:
        assert read("gray-rev=9f3c2a11,gray-rev=9f3c2a11,gray-sig=1.a,gray-sig=1.b") == Members(faults=("doubled",))

    def test_more_releases_than_a_document_may_have_are_ignored(self) -> None:
        found = read(",".join(f"gray.r{number}=v1" for number in range(70)))
        assert [release for release, _ in found.versions] == [f"r{number}" for number in range(62)]
        assert found.faults == ("too-many",)

    def test_each_fault_is_named_once(self) -> None:
        assert read("gray.A=v1,gray.B=v1,gray.a=!,gray.b=!").faults == ("bad-release", "bad-version")

    @given(any_header | gray_like | st.text())
    def test_any_text_can_be_read(self, text: str) -> None:
        found = read(text)
        assert len({release for release, _ in found.versions}) == len(found.versions) <= 62
        assert read(",".join(f"gray.{release}={version}" for release, version in found.versions)) == Members(
            found.versions
        )

    @given(decided, revisions)
    def test_what_a_context_writes_is_read_back(self, versions: dict[str, str], revision: str) -> None:
        assert read(wire(versions, revision)) == Members(tuple(versions.items()), revision)


class TestComposing:
    @pytest.mark.parametrize(
        ("gray", "application", "header"),
        [
            ("", "", ""),
            ("gray.a=v1", "", "gray.a=v1"),
            ("", "b=2", "b=2"),
            ("gray.a=v1", "b=2;p=1, c=3", "gray.a=v1,b=2;p=1, c=3"),
        ],
    )
    def test_ours_come_first(self, gray: str, application: str, header: str) -> None:
        assert compose(gray, application) == header

    def test_members_over_64_go_from_the_end(self) -> None:
        theirs = [f"k{number}=1" for number in range(80)]
        assert compose("gray.a=v1,gray-rev=9f3c2a11", ",".join(theirs)).split(",")[2:] == theirs[:62]

    def test_members_over_8192_bytes_go_whole_from_the_end(self) -> None:
        theirs = [f"k{number}={'x' * 1_000}" for number in range(10)]
        header = compose("gray.a=v1", ",".join(theirs))
        assert header == ",".join(["gray.a=v1", *theirs[:8]])

    def test_as_much_as_w3c_promises_gets_through(self) -> None:
        theirs = ",".join(f"k{number:02}={'x' * 120}" for number in range(62))
        exact = "gray.a=v1," + theirs + ",last=" + "x" * (MAX_BYTES - len(theirs) - 16)
        assert len(exact) == MAX_BYTES
        assert compose("gray.a=v1", exact.removeprefix("gray.a=v1,")) == exact

    def test_one_member_or_one_byte_over_is_over(self) -> None:
        theirs = [f"k{number}=1" for number in range(64)]
        assert compose("gray.a=v1", ",".join(theirs)) == ",".join(["gray.a=v1", *theirs[:63]])
        fitting = "b=" + "x" * (MAX_BYTES - len("gray.a=v1,b="))
        assert compose("gray.a=v1", fitting) == f"gray.a=v1,{fitting}"
        assert compose("gray.a=v1", f"{fitting}x") == "gray.a=v1"

    def test_ours_stay_even_where_they_alone_are_too_many(self) -> None:
        ours = ",".join(f"gray.r{number}=v1" for number in range(70))
        assert compose(ours, "b=2") == ours

    @given(decided, st.lists(members, max_size=90), st.integers(0, 400))
    def test_the_header_holds_ours_and_then_the_first_of_theirs(
        self, versions: dict[str, str], theirs: list[str], padding: int
    ) -> None:
        ours = wire(versions, None)
        theirs = [f"{member};p={'x' * padding}" for member in theirs]
        header = compose(ours, ",".join(theirs))
        assert len(header) <= MAX_BYTES
        assert header.count(",") < MAX_MEMBERS
        assert header.split(",") == [*ours.split(","), *theirs][: header.count(",") + 1]
        assert separate([header]).gray == ours

    @given(any_header | st.text(), any_header | st.text())
    def test_any_text_composes(self, gray: str, application: str) -> None:
        compose(gray, application)


class TestThroughOpenTelemetry:
    @given(decided, revisions, st.lists(members, max_size=6), st.randoms())
    def test_ours_survive_its_propagator_in_any_position(self, versions, revision, theirs, random) -> None:
        mixed = [*wire(versions, revision).split(","), *theirs]
        random.shuffle(mixed)
        context = W3CBaggagePropagator().extract({"baggage": ",".join(mixed)}, Context())
        carrier: dict[str, str] = {}
        W3CBaggagePropagator().inject(carrier, context)
        found = read(separate([carrier["baggage"]]).gray)
        assert dict(found.versions) == versions
        assert (found.revision, found.faults) == (revision, ())

    @given(decided, st.dictionaries(st.text(), st.text(), max_size=5))
    def test_ours_survive_among_whatever_the_application_sets(self, versions, theirs) -> None:
        context = Context()
        for key, value in [*((f"gray.{name}", version) for name, version in versions.items()), *theirs.items()]:
            if key in theirs and (is_ours(key.strip()) or not _encodes(key + value)):
                continue
            context = otel_baggage.set_baggage(key, value, context)
        carrier: dict[str, str] = {}
        W3CBaggagePropagator().inject(carrier, context)
        assert dict(read(separate([carrier["baggage"]]).gray).versions) == versions


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_separated_parts_have_names() -> None:
    assert Separated("gray.a=v1", "b=2").application == "b=2"
