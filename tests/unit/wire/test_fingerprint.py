import time

from gateway.wire.fingerprint import fingerprint

PATH = "/v1/audio/transcriptions"


def form(boundary: str, *parts: tuple[str, bytes]) -> tuple[bytes, str]:
    """A form as clients send it, and its content type."""
    body = b""
    for name, data in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f'multipart/form-data; boundary="{boundary}"'


def said(*sent: tuple[str, bytes], boundary: str = "b") -> str:
    return fingerprint("POST", PATH, *form(boundary, *sent))


def test_method_path_and_body_all_count() -> None:
    told = {
        fingerprint("POST", "/v1/embeddings", b"{}"),
        fingerprint("PUT", "/v1/embeddings", b"{}"),
        fingerprint("POST", "/v1/embedding", b"s{}"),
        fingerprint("POST", "/v1/embeddings", b"{} "),
        fingerprint("POST", "/v1/embeddings", b""),
    }
    assert len(told) == 5
    assert {len(one) for one in told} == {64}


def test_the_content_type_of_what_is_no_form_does_not_count() -> None:
    assert fingerprint("POST", PATH, b"{}", "application/json") == fingerprint("POST", PATH, b"{}")
    assert fingerprint("POST", PATH, b"{}", "multipart/form-data") == fingerprint("POST", PATH, b"{}")


def test_a_form_is_the_same_whatever_its_boundary() -> None:
    parts = ("model", b"whisper-1"), ("file", b"\0\1\r\n--\r\nsound")
    told = {said(*parts, boundary=one) for one in ("b", "----WebKitFormBoundaryX", "0a1b2c", "with space x")}
    assert len(told) == 1


def test_another_form_is_another() -> None:
    told = [
        said(("model", b"whisper-1"), ("file", b"sound")),
        said(("model", b"whisper-2"), ("file", b"sound")),
        said(("file", b"sound"), ("model", b"whisper-1")),
        said(("model", b"whisper-1"), ("file", b"sound\r\n")),
    ]
    assert len(set(told)) == len(told)


def test_what_looks_like_a_cut_is_not_taken_for_one() -> None:
    two = form("b", ("a", b"1"), ("c", b"2"))
    one = two[0].replace(
        b'--b\r\nContent-Disposition: form-data; name="c"', b'\r\nContent-Disposition: form-data; name="c"'
    )
    assert fingerprint("POST", PATH, *two) != fingerprint("POST", PATH, one, two[1])


def test_nobody_makes_it_slow() -> None:
    body, _ = b"--a" * 3_000_000, None
    began = time.process_time()
    fingerprint("POST", PATH, body, "multipart/form-data; boundary=a")
    fingerprint("POST", PATH, b"-" * 9_000_000, "multipart/form-data; boundary=" + "-" * 60 + "a")
    fingerprint("POST", PATH, b"{}", "multipart/form-data; boundary=" + '"' * 60_000)
    assert time.process_time() - began < 1
