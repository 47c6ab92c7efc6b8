from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage as otel_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from graymw.core.carrying.application_baggage import decode_application, encode_application
from graymw.core.carrying.wire import is_ours, separate

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = texts.filter(lambda key: key.strip() == key and key and not is_ours(key))
entries = st.dictionaries(keys, texts, max_size=6)
any_header = st.binary(max_size=120).map(lambda raw: raw.decode("latin-1"))
header_like = st.lists(
    st.sampled_from(["a", "b", "=", "=", ",", ";", "%20", "%zz", "%ff", "+", " ", "\t", "é", "\x00", "\n", "gray."]),
    max_size=20,
).map("".join)


def extracted(header: str) -> dict[str, object]:
    return dict(otel_baggage.get_all(W3CBaggagePropagator().extract({"baggage": header}, Context())))


class TestDecoding:
    @pytest.mark.parametrize(
        ("header", "values"),
        [
            ("", {}),
            ("userId=5", {"userId": "5"}),
            ("a=1,b=2", {"a": "1", "b": "2"}),
            (" a = 1 ,\tb\t=\t2 ", {"a": "1", "b": "2"}),
            ("name=J%C3%BCrgen%20K", {"name": "Jürgen K"}),
            ("version=1.2+abc", {"version": "1.2+abc"}),
            ("a=1;p=x;q", {"a": "1"}),
            ("a=1 ; p", {"a": "1"}),
            ("a=b=c", {"a": "b=c"}),
            ("user%20id=5", {"user id": "5"}),
            ("a=1,a=2", {"a": "2"}),
            ("a=%FF", {"a": "\ufffd"}),
            ("a=50%", {"a": "50%"}),
            ("a,=1,,b=", {"b": ""}),
        ],
    )
    def test_values_are_percent_decoded_and_properties_left_out(self, header: str, values: dict[str, str]) -> None:
        assert decode_application(header) == values

    def test_raw_utf8_is_read_as_such(self) -> None:
        assert decode_application("name=José".encode().decode("latin-1")) == {"name": "José"}

    def test_what_is_decoded_cannot_be_changed(self) -> None:
        with pytest.raises(TypeError):
            decode_application("a=1")["a"] = "2"  # type: ignore[index]

    @given(any_header | header_like | st.text())
    def test_any_text_can_be_decoded(self, text: str) -> None:
        decode_application(text)

    @given(any_header | header_like)
    def test_what_is_not_ours_never_decodes_to_ours(self, text: str) -> None:
        assert not any(is_ours(key.strip()) for key in decode_application(separate([text]).application))


class TestEncoding:
    @pytest.mark.parametrize(
        "raw",
        ["a=1", "a=1, b=2;p=1;q", "name=J%c3%bcrgen%20K", "version=1.2+abc", "a=%FF", "a=50%", "user+id=1", "a=1,a=2"],
    )
    def test_what_nobody_changed_is_sent_verbatim(self, raw: str) -> None:
        assert encode_application(decode_application(raw), raw) == raw
        assert encode_application(extracted(raw), raw) == raw

    def test_only_the_changed_member_is_encoded_anew(self) -> None:
        raw = "a=1;p=x,b=2+3;q,c=%7a"
        assert encode_application({"a": "1", "b": "ü +", "c": "z"}, raw) == "a=1;p=x,c=%7a,b=%C3%BC%20%2B"

    def test_what_the_application_removed_is_gone(self) -> None:
        assert encode_application({"b": "2"}, "a=1,b=2,broken") == "b=2"
        assert encode_application({}, "a=1") == ""

    def test_new_members_follow(self) -> None:
        assert encode_application({"new": "x", "a": "1"}, "a=1;p") == "a=1;p,new=x"

    def test_ours_are_left_out(self) -> None:
        baggage = {"gray.checkout": "v2", "gray-rev": "9f3c2a11", "gray-sig": "1.x", " gray.a": "v2", "a": "1"}
        assert encode_application(baggage, "a=1") == "a=1"

    @pytest.mark.parametrize(
        ("key", "written"), [("user id", "user%20id"), ("ключ", "%D0%BA%D0%BB%D1%8E%D1%87"), ("a+b", "a%2Bb")]
    )
    def test_a_key_that_is_no_token_is_percent_encoded(self, key: str, written: str) -> None:
        assert encode_application({key: "1"}, "") == f"{written}=1"

    def test_a_member_without_a_name_is_left_out(self) -> None:
        assert encode_application({"": "1", " ": "2", "a": "3"}, "") == "a=3"

    def test_values_of_other_types_go_as_text(self) -> None:
        assert encode_application({"n": 5, "none": None, "flag": True}, "n=5;p") == "n=5;p,none=None,flag=True"

    def test_a_value_that_cannot_be_text_is_left_out(self) -> None:
        class Broken:
            def __str__(self) -> str:
                raise RuntimeError

        assert encode_application({"a": Broken(), "b": "1"}, "a=1,b=1") == "b=1"

    def test_half_a_surrogate_pair_does_no_harm(self) -> None:
        assert encode_application({"a": "\ud800"}, "") == "a=%3F"

    def test_raw_utf8_goes_on_percent_encoded(self) -> None:
        raw = "name=José;p,a=1;p".encode().decode("latin-1")
        assert encode_application(decode_application(raw), raw) == "name=Jos%C3%A9,a=1;p"

    @given(entries)
    def test_what_is_encoded_decodes_to_the_same(self, baggage: dict[str, str]) -> None:
        assert decode_application(encode_application(baggage, "")) == baggage

    @given(entries)
    def test_opentelemetry_reads_the_same_but_for_outer_blanks(self, baggage: dict[str, str]) -> None:
        assert extracted(encode_application(baggage, "")) == {key: value.strip() for key, value in baggage.items()}

    @given(entries, entries)
    def test_nothing_changed_and_nothing_lost_beside_what_changed(self, before, after) -> None:
        raw = encode_application(before, "")
        assert decode_application(encode_application({**before, **after}, raw)) == {**before, **after}

    @given(any_header | header_like | st.text(), st.dictionaries(st.text(), st.text() | st.integers(), max_size=4))
    def test_whatever_it_is_http_may_carry_it(self, raw: str, baggage: dict[str, object]) -> None:
        for header in (encode_application(baggage, raw), encode_application(decode_application(raw), raw)):
            assert header.replace("\t", " ").isprintable()
            assert header.isascii()
            assert header == header.strip(" \t")

    @given(any_header | header_like)
    def test_a_second_hop_sees_what_the_first_saw(self, text: str) -> None:
        first = separate([text]).application
        second = encode_application(decode_application(first), first)
        assert decode_application(second) == decode_application(first)
        assert encode_application(decode_application(second), second) == second
