"""One client's connection: HTTP/1.1, one request at a time, by a task of its own only if it has to wait.

A request is let in by its head alone; until then nothing behind the head is kept, and of one that is refused
nothing is read.  Whoever leaves cancels the request under way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from kiro_auth.failures import STOPPED, Failure
from kiro_auth.gateway.http import limits, refusals, response
from kiro_auth.gateway.http.head import Head, HeadReader, Unreadable
from kiro_auth.gateway.http.incoming import Incoming, TooLarge
from kiro_auth.gateway.http.peer import NEVER, Peer
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.request_id import naming, new_request_id
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Admission, Refusal, Route, Waiting

if TYPE_CHECKING:
    from kiro_auth.gateway.http.server import Server


class Connection(Peer):
    """See the module."""

    __slots__ = (
        "_before", "_behind", "_body", "_has_asked", "_keyed", "_owner", "_reader", "_request", "stays",
        "task",
    )  # fmt: skip

    def __init__(self, owner: Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._owner = owner
        self.stays = True
        self._keyed = False
        self._has_asked = False
        self._reader: HeadReader | None = None
        self._before: list[bytes] = []  # earlier parts of the head that is being read
        self._behind = b""  # what came behind the request under way
        self._request: Request | None = None
        self._body: Incoming | None = None  # of it, as long as that is not complete
        self.task: asyncio.Task[None] | None = None  # answers the request under way

    # ---------------------------------------------------------------------------- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._wait(limits.SILENT_SECONDS)
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        """What one read brought."""
        if self._drops:
            self._still_sends()
            return
        if self._body is not None:
            data = self._read_body(self._body, data)
        if self._request is None and self.writable:
            self._read(data)
        elif data:
            self._keep(data)

    def resume_writing(self) -> None:
        """The client takes again."""
        super().resume_writing()
        if self.on_writable is None and self._request is None:
            self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone, and with it what it asked for."""
        self._drops = True
        self._behind = b""
        self._before = []
        self._reader = None
        if self.task is not None:
            self.task.cancel()
        self._over()
        self._owner.lost(self)

    # ----------------------------------------------------------------------------------- the server's

    def end(self) -> None:
        """Close it, as soon as the request under way is answered."""
        self.stays = False
        if self._request is None and not self._drops:
            self._close()

    def give_way(self, *, in_words: bool = True) -> None:
        """End it, as others need its place: at once, or in words if it has asked for nothing yet."""
        if not in_words or self._has_asked or self._drops:
            self.transport.abort()
        else:
            self._refuse(refusals.SILENT, self._reader.path if self._reader else "/", 503)

    def tick(self, now: float) -> None:
        """The time: what is too late ends."""
        if now < self._deadline:
            return
        self._deadline = NEVER
        if self._reader is not None:
            self._refuse(refusals.LATE, self._reader.path, 408)
        elif self._body is not None:
            self._break_body(Unreadable("the rest of it did not come"))
        elif self._takes():
            self._wait(limits.BODY_SECONDS)
        else:
            self.give_way()

    # ------------------------------------------------------------------------------------- a request

    def _read(self, data: bytes) -> None:
        """Take requests from what was read, until one of them has to be waited for."""
        while data and self._request is None and self.writable and not self._drops:
            reader = self._reader
            if reader is None:
                data = data.lstrip(b"\r\n")
                if not data:
                    return
                reader = HeadReader()
            try:
                found = reader.feed(data)
            except Unreadable as error:
                self._owner.unreadable(error.reason)
                self._refuse(refusals.unreadable(error), reader.path)
                return
            if found is None:
                if self._reader is None:
                    self._reader = reader
                    self._wait(limits.HEAD_SECONDS)
                self._before.append(data)
                return
            head, size = found
            self._reader = None
            self._deadline = NEVER
            data = self._begin(head, data, size)
        if data and not self._drops:
            self._keep(data)

    def _begin(self, head: Head, data: bytes, size: int) -> bytes:
        """A request whose head ends there; what is behind all of it comes back."""
        before, self._before = self._before, []
        self._has_asked = True
        admission = self._owner.site.admit(head, self.transport)
        route = admission.route if isinstance(admission, Admission) else None
        self.stays = head.stays and (self._owner.stays or (route is not None and route.is_prelude))
        if not isinstance(admission, Admission):
            return self._turn_away(head, admission, data[size:])
        if admission.keyed and not self._keyed:
            self._keyed = True
            self._owner.keyed(self)
        expected = head.headers.get("expect")
        if expected is not None and expected.lower() != "100-continue":
            answer = self._owner.site.failed(head.path, refusals.EXPECTATION, 417)
            return self._turn_away(head, Refusal(answer, admission.more), data[size:])
        limit = route.limit if route else 0
        request = self._request = Request(head, admission, self, limit=limit)
        if request.is_use:
            self._owner.site.begin()
        if route is None:
            self.transport.pause_reading()
            size += sum(map(len, before))
            handing = self._hand_over(request, b"".join((*before, data)), size, admission)
            self.task = self._loop.create_task(handing)
            return b""
        data = data[size:]
        if head.length or head.chunked:
            wanted = head.length <= limit > 0
            body = self._body = Incoming(head, limit, wanted=wanted)
            request.comes(body)
            data = self._read_body(body, data)
            if wanted and expected is not None and not data and self._body is not None:
                self.transport.write(response.CONTINUE)
        self._handle(request, route)
        return data

    def _turn_away(self, head: Head, refusal: Refusal, data: bytes) -> bytes:
        """Answer a request that goes no further; of its body nothing is read that is not there yet."""
        unread = head.chunked or len(data) < head.length
        self.stays = self.stays and not unread
        self._write(head, refusal.response, refusal.more)
        if not self.stays:
            self._close(lingers=unread)
            return b""
        self._wait_for_next()
        return data[head.length :]

    def _read_body(self, body: Incoming, data: bytes) -> bytes:
        """Take what is of the body; what is behind it comes back."""
        if not data:
            return data
        try:
            data = body.feed(data)
        except (Unreadable, TooLarge) as error:
            self._break_body(error)
            return b""
        if body.behind:
            self.stays = False  # where that begins is not known
        if body.complete:
            self._body = None
            self._deadline = NEVER
            if self._request is not None:
                self._request.arrived()
        else:
            self._wait(limits.BODY_SECONDS)
        return data

    def _break_body(self, error: Exception) -> None:
        """The rest of the body will not be read."""
        self._deadline = NEVER
        self.stays = False
        self._drops = True
        if self._request is not None:
            self._request.arrived(error)

    def _keep(self, data: bytes) -> None:
        self._behind += data
        if len(self._behind) > limits.MAX_BEHIND:
            self.transport.pause_reading()

    async def _hand_over(self, request: Request, data: bytes, size: int, admission: Admission) -> None:
        """Have the library answer."""
        try:
            await self._owner.hand_over(self, request.head, data, size, admission)
        except Exception as error:
            self.task = None
            self.stays = False
            self._answer(request, self._owner.failed(request, error))

    def handed_over(self) -> None:
        """It is the library's now."""
        self.task = None
        self._drops = True
        self._over()

    # ------------------------------------------------------------------------------------- an answer

    def _handle(self, request: Request, route: Route) -> None:
        if route.waiting is not None:
            self.task = self._loop.create_task(self._answered(request, route.waiting))
        elif route.at_once is not None:
            try:
                answer = route.at_once(request)
            except Exception as error:
                answer = self._owner.failed(request, error)
            self._answer(request, answer)

    async def _answered(self, request: Request, handler: Waiting) -> None:
        try:
            answer = await handler(request)
        except asyncio.CancelledError:  # by a client that left, or by a gateway that ends
            self._drops = True
            self.stays = False
            if not request.begun:
                self._write(request.head, self._owner.site.failed(request.path, STOPPED), request.more)
            self.transport.close()
            raise
        except Exception as error:
            answer = self._owner.failed(request, error)
        self.task = None
        if answer is not None and request.begun:  # what was written cannot be taken back
            self.transport.abort()
        else:
            self._answer(request, answer)
            self._go_on()

    def _answer(self, request: Request, answer: Response | None) -> None:
        """Write it, unless a stream was the answer; the request is over."""
        if self._request is None:  # the client is gone, or the library failed with it
            self.transport.abort()
            return
        self.stays = self.stays and self._body is None  # of which nobody reads the rest
        if answer is not None:
            self._write(request.head, answer, request.more)
        self._over()
        if self.stays:
            self._wait_for_next()
        else:
            self._close()

    def _wait_for_next(self) -> None:
        kept = limits.KEPT_SECONDS if self.writable else limits.BODY_SECONDS
        self._wait(kept if self._keyed else limits.SILENT_SECONDS)

    def _write(self, head: Head, answer: Response, more: str) -> None:
        if self.transport.is_closing():
            return
        if not self.stays:
            more += response.CLOSES
        elif not head.minor:
            more += response.STAYS
        self.transport.write(response.whole(answer, more, bodiless=head.method == "HEAD"))

    def _over(self) -> None:
        """The request under way is over."""
        request, self._request = self._request, None
        if request is not None and request.is_use:
            self._owner.site.end()

    def _refuse(self, failure: Failure, path: str, status: int | None = None) -> None:
        """Answer what is no request, or none that is waited for any longer."""
        self._reader = None
        self._before = []
        self.stays = False
        answer = self._owner.site.failed(path, failure, status)
        self.transport.write(response.whole(answer, naming(new_request_id()) + response.CLOSES))
        self._close(lingers=True)

    def _go_on(self) -> None:
        """Look at what came in the meantime."""
        if self._drops or self._request is not None or self.transport.is_closing():
            return
        data, self._behind = self._behind, b""
        if len(data) > limits.MAX_BEHIND:
            self.transport.resume_reading()
        self._read(data)

    def _close(self, *, lingers: bool = False) -> None:
        """Leave the client, which has time to read first if it still sends."""
        self._behind = b""
        unread = self._body is not None
        self._body = None
        self._leave(lingers=lingers or unread)
