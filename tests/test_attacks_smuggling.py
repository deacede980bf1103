"""Attempts to have two readers of one request disagree on where it ends.

What is smuggled is a request by nobody, in what may pass for the body of another. Neither by
nobody nor behind a request that is let in may it be answered by the app.
"""

from __future__ import annotations

import pytest

from tests.attack_site import BEHIND_GATEWAY, FAREWELL, QUIET_S, Victim, exchange

pytestmark = pytest.mark.engine

POST = "POST {path} HTTP/1.1\nHost: {host}\n"
SMUGGLED = "GET {path} HTTP/1.1\nHost: {host}\n\n"
CHUNKED = "Transfer-Encoding: chunked\n"
END = "0\n\n" + SMUGGLED
# A header, and a body that ends before or after the smuggled request, as one takes it.
SHAPES = {
    # Content-Length, then Transfer-Encoding
    "a length and chunks": "Content-Length: 200\n" + CHUNKED + "\n" + END,
    "chunks and a length": CHUNKED + "Content-Length: 200\n\n" + END,
    "chunks and a short length": CHUNKED + "Content-Length: 3\n\n200\n" + SMUGGLED + "\n0\n\n",
    "chunks and no length": CHUNKED + "Content-Length: 0\n\n" + END,
    "chunks of old": "Connection: keep-alive\n" + CHUNKED + "\n" + END,
    # Transfer-Encoding in disguise
    "chunks in capitals": "TRANSFER-ENCODING: CHUNKED\nContent-Length: 5\n\n" + END,
    "chunks after a tab": "Transfer-Encoding:\tchunked\nContent-Length: 5\n\n" + END,
    "chunks before a tab": "Transfer-Encoding: chunked\t\nContent-Length: 5\n\n" + END,
    "chunks after a vertical tab": "Transfer-Encoding: \vchunked\nContent-Length: 5\n\n" + END,
    "chunks after a form feed": "Transfer-Encoding: \fchunked\nContent-Length: 5\n\n" + END,
    "a blank before the colon": "Transfer-Encoding : chunked\nContent-Length: 5\n\n" + END,
    "a tab before the colon": "Transfer-Encoding\t: chunked\nContent-Length: 5\n\n" + END,
    "a NUL before the colon": "Transfer-Encoding␀: chunked\nContent-Length: 5\n\n" + END,
    "an underscore": "Transfer_Encoding: chunked\nContent-Length: 5\n\n" + END,
    "a blank line's beginning": " Transfer-Encoding: chunked\nContent-Length: 5\n\n" + END,
    "a folded line": "Transfer-Encoding:\n chunked\nContent-Length: 5\n\n" + END,
    "a line folded onto another": "X: y\n Transfer-Encoding: chunked\nContent-Length: 5\n\n" + END,
    "a line ended by LF": "X: y␊Transfer-Encoding: chunked\nContent-Length: 5\n\n" + END,
    "a line ended by CR": "X: y␍Transfer-Encoding: chunked\nContent-Length: 5\n\n" + END,
    "chunks twice": CHUNKED + CHUNKED + "\n" + END,
    "chunks and something": CHUNKED + "Transfer-Encoding: x\n\n" + END,
    "something and chunks": "Transfer-Encoding: x\n" + CHUNKED + "\n" + END,
    "chunks of chunks": "Transfer-Encoding: chunked, chunked\n\n" + END,
    "chunks of nothing": "Transfer-Encoding: identity, chunked\nContent-Length: 5\n\n" + END,
    "nothing of chunks": "Transfer-Encoding: chunked, identity\nContent-Length: 5\n\n" + END,
    "almost chunks": "Transfer-Encoding: xchunked\nContent-Length: 5\n\n" + END,
    "quoted chunks": 'Transfer-Encoding: "chunked"\nContent-Length: 5\n\n' + END,
    "chunks with a parameter": "Transfer-Encoding: chunked;x=y\nContent-Length: 5\n\n" + END,
    "chunks and a comma": "Transfer-Encoding: chunked,\nContent-Length: 5\n\n" + END,
    "an empty encoding": "Transfer-Encoding:\nContent-Length: 5\n\n" + END,
    "chunks hop by hop": "Connection: Transfer-Encoding\n" + CHUNKED + "\n" + END,
    "a length hop by hop": "Connection: Content-Length\nContent-Length: 5\n\n" + END,
    # Content-Length
    "two lengths": "Content-Length: 0\nContent-Length: 200\n\n" + SMUGGLED,
    "two lengths the other way": "Content-Length: 200\nContent-Length: 0\n\n" + SMUGGLED,
    "one length twice": "Content-Length: 0\nContent-Length: 0\n\n" + SMUGGLED,
    "two lengths in one": "Content-Length: 0, 200\n\n" + SMUGGLED,
    "no length": "\n" + SMUGGLED,
    "an empty length": "Content-Length:\n\n" + SMUGGLED,
    "a negative length": "Content-Length: -1\n\n" + SMUGGLED,
    "a length with a plus": "Content-Length: +0\n\n" + SMUGGLED,
    "a length in hex": "Content-Length: 0x0\n\n" + SMUGGLED,
    "a length with zeros": "Content-Length: 00000000000000000000\n\n" + SMUGGLED,
    "a length with a point": "Content-Length: 0.0\n\n" + SMUGGLED,
    "a length with an exponent": "Content-Length: 0e1\n\n" + SMUGGLED,
    "a length and more": "Content-Length: 0 0\n\n" + SMUGGLED,
    "a length too large": "Content-Length: 18446744073709551616\n\n" + SMUGGLED,
    "a length in other digits": "Content-Length: \u0660\n\n" + SMUGGLED,
    "a length before a blank": "Content-Length : 0\n\n" + SMUGGLED,
    "a length on two lines": "Content-Length:\n 0\n\n" + SMUGGLED,
    "a length with an underscore": "Content_Length: 200\n\n" + SMUGGLED,
    # Chunks
    "an extension": CHUNKED + "\n0;x=y\n\n" + SMUGGLED,
    "an extension with LF": CHUNKED + "\n1;x␊a\n0\n\n" + SMUGGLED,
    "an extension with CR": CHUNKED + "\n1;x␍a\n0\n\n" + SMUGGLED,
    "an endless extension": CHUNKED + "\n0;" + "x" * 40000 + "\n\n" + SMUGGLED,
    "a quoted line end": CHUNKED + '\n0;x="\n\n' + SMUGGLED + '"\n\n',
    "a size in another notation": CHUNKED + "\n0x0\n\n" + SMUGGLED,
    "a size with a plus": CHUNKED + "\n+0\n\n" + SMUGGLED,
    "a negative size": CHUNKED + "\n-1\n\n" + SMUGGLED,
    "a size after a blank": CHUNKED + "\n 0\n\n" + SMUGGLED,
    "a size before a blank": CHUNKED + "\n0 \n\n" + SMUGGLED,
    "a size too large": CHUNKED + "\n10000000000000000\n\n" + SMUGGLED,
    "a size with an underscore": CHUNKED + "\n0_0\n\n" + SMUGGLED,
    "no size": CHUNKED + "\n\n\n" + SMUGGLED,
    "a size ended by LF": CHUNKED + "\n0␊␊" + SMUGGLED,
    "a size ended by CR": CHUNKED + "\n0␍␍" + SMUGGLED,
    "a chunk that is longer": CHUNKED + "\n1\nab\n0\n\n" + SMUGGLED,
    "a chunk without an end": CHUNKED + "\n1\na0\n\n" + SMUGGLED,
    "trailers": CHUNKED + "\n0\nContent-Length: 200\nHost: x\n\n" + SMUGGLED,
    "a trailer that is a request": CHUNKED + "\n0\n" + SMUGGLED,
    # Where the head ends
    "a head ended by LF": "Content-Length: 0␊␊" + SMUGGLED,
    "a head ended by CR": "Content-Length: 0␍␍" + SMUGGLED,
    "a head ended by both": "Content-Length: 0␊\n" + SMUGGLED,
    "a line without a colon": "nothing\n\n" + SMUGGLED,
    "a line without a name": ": x\nContent-Length: 0\n\n" + SMUGGLED,
    "a NUL in a line": "X: ␀\nContent-Length: 0\n\n" + SMUGGLED,
    "a request in a header": "X: y␍␊␍␊" + SMUGGLED,
    "a very long line": "X: " + "y" * 70000 + "\nContent-Length: 0\n\n" + SMUGGLED,
    "very many lines": "X: y\n" * 5000 + "Content-Length: 0\n\n" + SMUGGLED,
    "many short lines": "X:\n" * 3000 + "Content-Length: 0\n\n" + SMUGGLED,
    "a go-ahead": "Expect: 100-continue\nContent-Length: 200\n\n" + SMUGGLED,
    "an upgrade": "Connection: Upgrade\nUpgrade: websocket\nContent-Length: 0\n\n" + SMUGGLED,
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
class TestShapes:
    def test_by_nobody(self, victim: Victim, shape: str) -> None:
        victim.assert_refused(victim.wire(POST + shape + FAREWELL))

    def test_behind_a_request_that_is_let_in(self, victim: Victim, shape: str) -> None:
        request = victim.wire(POST + "{login:POST {path}}\n" + shape + FAREWELL)
        said, touched = victim.observe(lambda: victim.answers(request), expected=1)
        assert victim.let_in(said) <= 1, said
        assert touched <= 1 or victim.kind.scheme == "form"
        assert b"strict-transport-security" not in said.lower()

    def test_in_the_body_of_a_get(self, victim: Victim, shape: str) -> None:
        get = "GET {path} HTTP/1.1\nHost: {host}\n"
        victim.assert_refused(victim.wire(get + shape + FAREWELL))


class TestOneAfterTheOther:
    GET = "GET {path} HTTP/1.1\nHost: {host}\n"

    def test_a_login_is_for_one_request(self, victim: Victim) -> None:
        let_in = self.GET + "{login:GET {path}}\n\n"
        said = victim.answers(victim.wire(let_in + self.GET + "\n" + let_in + FAREWELL))
        assert victim.let_in(said) == 2, said

    def test_a_refusal_is_not_forgotten(self, victim: Victim) -> None:
        victim.assert_refused(victim.wire((self.GET + "\n") * 3 + FAREWELL))

    def test_a_login_may_not_come_with_a_trailer(self, victim: Victim) -> None:
        request = POST + CHUNKED + "Trailer: Authorization, Cookie\n\n"
        request += "1\na\n0\n{login:POST {path}}\n\n"
        victim.assert_refused(victim.wire(request + FAREWELL))

    def test_a_login_may_not_come_with_the_body(self, victim: Victim) -> None:
        request = POST + "Content-Length: 400\n\n{login:POST {path}}\n\n"
        victim.assert_refused(victim.wire(request))

    def test_a_login_may_not_come_with_the_next_line(self, victim: Victim) -> None:
        victim.assert_refused(victim.wire(self.GET + "\n{login:GET {path}}\n\n" + FAREWELL))

    @BEHIND_GATEWAY
    def test_what_is_refused_is_not_answered_when_the_rest_comes(self, victim: Victim) -> None:
        with victim.connect() as connection:
            begun = victim.wire(POST + "Content-Length: 10\n\n12345")
            assert exchange(connection, begun, quiet=0.2).startswith(b"HTTP/1.1 401 ")
            said = exchange(connection, victim.wire("67890" + FAREWELL), quiet=QUIET_S)
        assert victim.let_in(said) == 0
