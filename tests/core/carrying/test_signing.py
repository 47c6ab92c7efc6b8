from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graymw.core.carrying.signing import MAX_AHEAD, MAX_TTL, Signer, sign, verify
from graymw.core.carrying.wire import Members, read

KEY = b"a long random string"
OTHER = b"another long random string"
NOW = 1_700_000_000
GRAY = "gray.checkout=v2,gray.search=v1,gray-rev=9f3c2a11"

releases = st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True)
versions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)
decided = st.dictionaries(releases, versions, max_size=5)
keys = st.binary(min_size=1, max_size=80)


def wire(versions: dict[str, str], revision: str | None = None) -> str:
    members = [f"gray.{release}={version}" for release, version in versions.items()]
    return ",".join([*members, f"gray-rev={revision}"] if revision else members)


def signed(gray: str, expiry: int = NOW + 300, key: bytes = KEY) -> str:
    signature = f"gray-sig={sign(gray, expiry, key)}"
    return f"{gray},{signature}" if gray else signature


class TestVerifying:
    def test_what_was_signed_is_genuine(self) -> None:
        assert verify(read(signed(GRAY)), NOW, [KEY]) is None

    def test_a_request_without_signature_has_none(self) -> None:
        assert verify(read(GRAY), NOW, [KEY]) == "absent"

    @pytest.mark.parametrize(
        "signature", ["x", "12.", ".abc", "12", "-5." + "A" * 43, "12." + "A" * 42, "12." + "A" * 44, "012." + "A" * 43,
                      "1" * 13 + "." + "A" * 43, "12." + "A" * 42 + "=", "١٢." + "A" * 43, "12." + "A" * 43 + "\n"]
    )  # fmt: skip
    def test_a_signature_that_is_none_is_malformed(self, signature: str) -> None:
        assert verify(Members((("a", "v1"),), None, signature), NOW, [KEY]) == "malformed"

    def test_it_holds_until_its_expiry(self) -> None:
        members = read(signed(GRAY, NOW + 300))
        assert verify(members, NOW + 299.9, [KEY]) is None
        assert verify(members, NOW + 300, [KEY]) == "expired"

    def test_an_expiry_too_far_ahead_does_not_count(self) -> None:
        assert verify(read(signed(GRAY, NOW + MAX_AHEAD)), NOW, [KEY]) is None
        assert verify(read(signed(GRAY, NOW + MAX_AHEAD + 1)), NOW, [KEY]) == "too-far"
        assert verify(read(signed(GRAY, NOW + 61)), NOW, [KEY], max_ahead=60) == "too-far"

    def test_any_of_several_keys_may_have_signed(self) -> None:
        assert verify(read(signed(GRAY, key=OTHER)), NOW, [KEY, OTHER]) is None
        assert verify(read(signed(GRAY, key=KEY)), NOW, [OTHER, KEY]) is None

    @pytest.mark.parametrize("keys", [[], [OTHER], [b""]])
    def test_without_its_key_it_is_forged(self, keys: list[bytes]) -> None:
        assert verify(read(signed(GRAY)), NOW, keys) == "forged"

    def test_a_mac_by_the_empty_key_is_forged(self) -> None:
        text = f"graymw/gray-sig/1\n{NOW + 300}\n\na=v1".encode()
        mac = urlsafe_b64encode(hmac.digest(b"", text, "sha256"))[:-1].decode()
        assert verify(Members((("a", "v1"),), None, f"{NOW + 300}.{mac}"), NOW, [b"", KEY]) == "forged"

    @pytest.mark.parametrize(
        "gray",
        [
            "gray.checkout=v3,gray.search=v1,gray-rev=9f3c2a11",
            "gray.checkout=v1,gray.search=v2,gray-rev=9f3c2a11",
            "gray.checkout=v2,gray-rev=9f3c2a11",
            "gray.checkout=v2,gray.search=v1,gray.more=v1,gray-rev=9f3c2a11",
            "gray.checkout=v2,gray.search=v1,gray-rev=9f3c2a12",
            "gray.checkout=v2,gray.search=v1",
            "gray.checkout=v2,gray.search=v1,gray.search=v1,gray-rev=9f3c2a11",
            "gray-rev=9f3c2a11",
        ],
    )
    def test_changed_members_are_forged(self, gray: str) -> None:
        assert verify(read(f"{gray},gray-sig={sign(GRAY, NOW + 300, KEY)}"), NOW, [KEY]) == "forged"

    def test_a_changed_expiry_is_forged(self) -> None:
        mac = sign(GRAY, NOW + 300, KEY).partition(".")[2]
        assert verify(read(f"{GRAY},gray-sig={NOW + 301}.{mac}"), NOW, [KEY]) == "forged"

    def test_the_order_of_members_does_not_matter(self) -> None:
        reordered = "gray-rev=9f3c2a11,gray.search=v1,gray.checkout=v2"
        assert verify(read(f"gray-sig={sign(GRAY, NOW + 300, KEY)},{reordered}"), NOW, [KEY]) is None

    def test_the_mac_is_over_the_documented_text(self) -> None:
        text = f"graymw/gray-sig/1\n{NOW}\n9f3c2a11\ncheckout=v2\nsearch=v1"
        mac = urlsafe_b64encode(hmac.digest(KEY, text.encode(), "sha256")).rstrip(b"=").decode()
        assert sign(GRAY, NOW, KEY) == f"{NOW}.{mac}"

    @given(decided, keys)
    def test_whatever_is_signed_verifies_and_travels_plain(self, versions: dict[str, str], key: bytes) -> None:
        members = read(signed(wire(versions), key=key))
        assert members.faults == ()
        assert verify(members, NOW, [key]) is None

    @given(decided, decided)
    def test_one_signature_fits_one_set_of_decisions(self, one: dict[str, str], other: dict[str, str]) -> None:
        assume(one != other)
        members = read(wire(other))._replace(signature=sign(wire(one), NOW + 300, KEY))
        assert verify(members, NOW, [KEY]) == "forged"

    @given(st.integers(0, 10_000), st.sampled_from("ABCxyz019-_."))
    def test_no_changed_character_goes_unnoticed(self, place: int, character: str) -> None:
        signature = sign(GRAY, NOW + 300, KEY)
        place %= len(signature)
        tampered = signature[:place] + character + signature[place + 1 :]
        assume(tampered != signature)
        assert verify(read(GRAY)._replace(signature=tampered), NOW, [KEY]) is not None

    @given(st.text(), st.floats(allow_nan=True))
    def test_any_signature_can_be_looked_at(self, signature: str, now: float) -> None:
        assert verify(Members((("a", "v1"),), None, signature), now, [KEY]) is not None


class TestSigning:
    def test_an_empty_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="signing key is empty"):
            sign(GRAY, NOW, b"")


class TestSigner:
    @pytest.mark.parametrize(
        ("keys", "ttl"), [([], 300), ([b""], 300), ([KEY, b""], 300), ([KEY], 0), ([KEY], MAX_TTL + 1)]
    )
    def test_it_refuses_what_could_not_protect(self, keys: list[bytes], ttl: int) -> None:
        with pytest.raises(ValueError, match="GRAYMW_SECRET" if ttl == 300 else "give 1 to"):
            Signer(keys, ttl)

    def test_the_first_key_signs(self) -> None:
        signature = Signer([KEY, OTHER], 300).signature(GRAY, NOW)
        members = read(f"{GRAY},gray-sig={signature}")
        assert verify(members, NOW, [KEY]) is None
        assert verify(members, NOW, [OTHER]) == "forged"

    @given(st.integers(1, MAX_TTL), st.floats(0, 10**10))
    def test_a_signature_holds_for_its_time_and_at_most_half_as_long_again(self, ttl: int, now: float) -> None:
        expiry = int(Signer([KEY], ttl).signature(GRAY, now).partition(".")[0])
        assert now + ttl <= expiry <= now + ttl + max(1, ttl / 2)
        assert expiry - now <= MAX_AHEAD

    def test_the_same_members_get_the_same_signature_for_a_while(self) -> None:
        signer = Signer([KEY], 300)
        slot = NOW - NOW % 150
        assert signer.signature(GRAY, slot) is signer.signature(GRAY, slot + 149.9)
        assert signer.signature(GRAY, slot) != signer.signature(GRAY, slot + 150)
        assert signer.signature(GRAY, slot) != signer.signature("gray.a=v1", slot)

    def test_a_clock_set_back_is_obeyed(self) -> None:
        signer = Signer([KEY], 300)
        first = signer.signature(GRAY, NOW)
        signer.signature(GRAY, NOW + 1_000)
        assert signer.signature(GRAY, NOW) == first

    def test_it_does_not_remember_without_bound(self) -> None:
        signer = Signer([KEY], 300)
        for number in range(3_000):
            signer.signature(f"gray.a=v{number}", NOW)
        assert len(signer._signatures[1]) < 2_000
        assert verify(read(f"{GRAY},gray-sig={signer.signature(GRAY, NOW)}"), NOW, [KEY]) is None
