"""The channel to a switch, in Ryu's place: what a peer sends cannot stop us.

Ryu reads eight octets at a time, parses whatever comes and lets one slow switch delay
all others.  This reads what there is, looks at each message's structure before any
parser does (`openflow_check`), gives Ryu only what somebody listens for, and queues
what a switch does not take, within bounds.  `install` puts it in the place of Ryu's.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

from ryu.controller import controller as ryu_controller
from ryu.controller import ofp_event
from ryu.controller.handler import (
    DEAD_DISPATCHER,
    HANDSHAKE_DISPATCHER,
    MAIN_DISPATCHER,
)
from ryu.lib import hub
from ryu.ofproto import ofproto_parser, ofproto_v1_3_parser

from controller import private_socket
from controller.sources.openflow_check import (
    ECHO_REPLY,
    ECHO_REQUEST,
    ERROR,
    HEADER,
    HELLO,
    MULTIPART_REPLY,
    PACKET_IN,
    VERSION,
    Unacceptable,
    check,
    check_header,
)

READ_SIZE = 64 * 1024  # octets
TURN = 16 * 1024  # octets that are dealt with before others have their turn
TURN_MESSAGES = 64  # or messages that were not answered at once
WAITING_MAX = 256 * 1024 * 1024  # octets that a switch may leave unread
ECHO_MAX = 4 * 1024 * 1024  # of these, until it gets no more answers to echo requests
PIECE = 64 * 1024  # octets in one write
HANDSHAKE = 10.0  # seconds from the connection to the list of ports
HANDSHAKES_MAX = 128  # connections that are not that far yet
BACKLOG = 64  # connections to the unix socket that wait to be taken in
AGAIN = 0.1  # seconds until a connection is accepted, after one that could not be
QUIET = 10.0  # seconds between two lines in the log for one reason

log = logging.getLogger("isat.openflow")

Taker = Callable[[Any, bytes], None]
Answerer = Callable[[int, bytes, int, list[bytes]], int]
refused: Counter[str] = Counter()  # how often peers were turned away, by reason
unsent: Counter[str] = Counter()  # how often answers were not sent, by reason
_said: dict[str, float] = {}  # when the log was told, by reason


def refuse(address: Any, reason: str) -> None:
    """Count it, and say so now and then."""
    refused[reason] += 1
    now = time.monotonic()
    if now >= _said.get(reason, float("-inf")) + QUIET:
        _said[reason] = now
        log.warning("closed %s: %s (%d so far)", address, reason, refused[reason])


class Channel(ryu_controller.Datapath):  # type: ignore[misc]
    """One connection.

    takers   message type (and multipart type) -> who takes its octets, without a parser
    answerers  who takes datapath_id, messages and where to begin, appends answers to a
             list, and returns where the first message begins that is left to the takers
    """

    send_q: Any  # Ryu's word for "still open": anything but None
    takers: ClassVar[dict[tuple[int, int], Taker]] = {}
    answerers: ClassVar[tuple[Answerer, ...]] = ()
    greeting: ClassVar[set[int]] = set()  # who has not shaken hands yet

    def __init__(self, sock: Any, address: Any) -> None:
        self._waiting: deque[bytes] = deque()
        self._size = 0  # octets that wait
        self._bell = hub.Event()
        self._began = time.monotonic()
        self._is_writing = self._is_over = False
        # What takes as much as there is room for, at once: not a TLS socket.
        self._file = None if isinstance(sock, ssl.SSLSocket) else sock.fd
        super().__init__(sock, address)

    def serve(self) -> None:
        """Until the connection ends.  What a peer does wrong is said here, once."""
        if is_crowded(self.socket, self.address):
            return
        self.greeting.add(id(self))
        try:
            self._serve()
        except Unacceptable as error:
            self._refuse(str(error))
        except Exception:
            self._refuse("a message that a parser could not read")
            log.debug("from %s", self.address, exc_info=True)
        finally:
            self.greeting.discard(id(self))

    def _serve(self) -> None:
        """As Ryu does, but for the end of the thread that writes: one that is killed
        keeps what has killed it, and that leads back to it, and from there to us.  Such
        a circle is looked for seldom (`controller.garbage`)."""
        threads = [hub.spawn(self._send_loop)]
        self.send_msg(self.ofproto_parser.OFPHello(self))
        if self.max_unreplied_echo_requests:
            threads.append(hub.spawn(self._echo_request_loop))
        try:
            self._recv_loop()
        finally:
            self._is_over = True
            self._bell.set()
            for one in threads[0 if self._is_writing else 1 :]:
                hub.kill(one)  # as it is busy with somebody who does not read, or waits
            hub.joinall(threads)
            self.is_active = False

    def _refuse(self, reason: str) -> None:
        refuse(self.address, reason)

    # --- reading ----------------------------------------------------------------------

    def _recv_loop(self) -> None:
        rest, since = b"", 0
        try:
            while self.state != DEAD_DISPATCHER:
                data = self._read()
                if data is None:
                    continue
                if not data:
                    return
                rest = self._take(rest + data)
                since += len(data)
                if since >= TURN:  # the other switches, and whoever else waits
                    since = 0
                    hub.sleep(0)
        finally:
            self.socket.close()

    def _read(self) -> bytes | None:
        """None if nothing has come for a while, b"" at the end."""
        if self.state != MAIN_DISPATCHER and time.monotonic() > self._began + HANDSHAKE:
            raise Unacceptable("no handshake in time")
        try:
            data: bytes = self.socket.recv(READ_SIZE)
        except TimeoutError:  # of a TLS socket, too
            return None
        except OSError:
            return b""
        return data

    def _take(self, data: bytes) -> bytes:
        """Deal with all whole messages; what is left of the last one."""
        at, answers, slow = 0, list[bytes](), 0
        while len(data) - at >= HEADER.size and self.state != DEAD_DISPATCHER:
            if (then := self._answer(data, at, answers)) > at:
                at = then
                continue
            check_header(data[at : at + HEADER.size], self._is_greeted)
            _, _, length, _ = HEADER.unpack_from(data, at)
            if len(data) - at < length:
                break
            self._message(data[at : at + length], answers)
            at += length
            slow += 1
            if slow % TURN_MESSAGES == 0:
                self._send_at_once(answers)
                hub.sleep(0)
        self._send_at_once(answers)
        return data[at:]

    def _answer(self, data: bytes, at: int, answers: list[bytes]) -> int:
        if data[at + 1] != PACKET_IN or self.state != MAIN_DISPATCHER:
            return at
        if self._is_listened_for(PACKET_IN, 0):
            return at  # who listens hears of all
        for answer in self.answerers:
            at = answer(self.id, data, at, answers)
        return at

    @property
    def _is_greeted(self) -> bool:
        return bool(self.state != HANDSHAKE_DISPATCHER)

    def _message(self, message: bytes, answers: list[bytes]) -> None:
        check(message, self._is_greeted)
        version, kind, length, xid = HEADER.unpack_from(message)
        if kind == ECHO_REQUEST and self._size > ECHO_MAX:
            return  # as long as it likes, from anybody: they would wait, and we pay
        if kind == ECHO_REQUEST and not self._is_observed(kind):
            answers.append(bytes((version, ECHO_REPLY)) + message[2:])
            return  # at once: the core's next turn may come before the sending thread's
        if version != VERSION and kind == ERROR:
            raise Unacceptable("no version of OpenFlow in common")
        part = int.from_bytes(message[8:10]) if kind == MULTIPART_REPLY else 0
        taker = self.takers.get((kind, part))
        if taker is not None and self.state == MAIN_DISPATCHER:
            taker(self, message)
        if kind == HELLO or self._is_listened_for(kind, part):
            self._deliver(version, kind, length, xid, message)
        if kind == MULTIPART_REPLY:  # the last one of the handshake is a list of ports
            self._settle()

    def _settle(self) -> None:
        if self.state == MAIN_DISPATCHER:
            self.greeting.discard(id(self))

    def _is_listened_for(self, kind: int, part: int) -> bool:
        event = event_of(kind, part)
        is_ours = bool(self.ofp_brick.event_handlers.get(event))
        return is_ours or self._is_observed(kind, part)

    def _is_observed(self, kind: int, part: int = 0) -> bool:
        """By another application."""
        return bool(self.ofp_brick.observers.get(event_of(kind, part)))

    def _deliver(
        self, version: int, kind: int, length: int, xid: int, message: bytes
    ) -> None:
        """As Ryu does: to the applications that observe, then to its own handlers."""
        parsed = ofproto_parser.msg(self, version, kind, length, xid, message)
        if not parsed:
            return
        event = ofp_event.ofp_msg_to_ev(parsed)
        self.ofp_brick.send_event_to_observers(event, self.state)
        for handler in self.ofp_brick.get_handlers(event, self.state):
            handler(event)

    # --- writing ----------------------------------------------------------------------

    def send(self, buf: bytes, close_socket: bool = False) -> bool:
        """Never waits for the switch; one that leaves too much unread is given up."""
        if self.send_q is None:
            return False
        buf = self._untaken(buf)
        if self._size + len(buf) > WAITING_MAX:
            self._refuse("a switch that does not read what it is sent")
            self.close()
            return False
        if buf:
            self._waiting.append(bytes(buf))
            self._size += len(buf)
        if close_socket:
            self._waiting.append(b"")
        if self._waiting:
            self._bell.set()
        return True

    def _untaken(self, buf: bytes) -> bytes:
        """What the switch does not take at once.  The sending thread would have its
        turn only after all who read."""
        if self._waiting or self._is_writing or self._file is None:
            return buf
        try:
            return buf[self._file.send(buf) :]
        except OSError as error:  # it takes nothing now, or never will
            log.debug("sending to %s: %s", self.address, error)
            return buf

    def _send_at_once(self, answers: list[bytes]) -> None:
        """Those to what was just read.  Who reads none of them gets no more."""
        buf = b"".join(answers)
        answers.clear()
        if not buf:
            return
        if self._size > ECHO_MAX:
            unsent["reads not answered, as the switch does not read"] += 1
            return
        self.send(buf)

    def _send_loop(self) -> None:
        try:
            while self.state != DEAD_DISPATCHER or self._waiting:
                self._bell.wait()
                self._bell.clear()
                if self._is_over:
                    return
                while self._waiting:
                    if not self._waiting[0]:
                        return
                    self._write(self._piece())
        except OSError as error:  # a time-out, too: it reads nothing any more
            log.debug("sending to %s: %s", self.address, error)
        finally:
            self.send_q = None
            self._waiting.clear()
            self._size = 0
            self._close_write()

    def _write(self, piece: bytes) -> None:
        self._is_writing = True
        try:
            self.socket.sendall(piece)
        finally:
            self._is_writing = False

    def _piece(self) -> bytes:
        """Messages that wait, together; up to PIECE, or one that is larger."""
        piece = bytearray(self._waiting.popleft())
        while self._waiting and self._waiting[0]:
            if len(piece) + len(self._waiting[0]) > PIECE:
                break
            piece += self._waiting.popleft()
        self._size -= len(piece)
        return bytes(piece)


@cache
def event_of(kind: int, part: int) -> Any:
    """The class of Ryu's event for a message; None for one that it does not know."""
    if kind == MULTIPART_REPLY:
        known = ofproto_v1_3_parser.OFPMultipartReply._STATS_MSG_TYPES.get(part)
    else:
        parser = ofproto_v1_3_parser._MSG_PARSERS.get(kind)
        known = parser.__self__ if parser else None
    return ofp_event.ofp_msg_to_ev_cls(known) if known else None


def install(takers: dict[tuple[int, int], Taker], answerer: Answerer) -> None:
    """From now on Ryu's servers and clients leave each connection to us."""
    Channel.takers, Channel.answerers = takers, (answerer,)
    ryu_controller.datapath_connection_factory = serve
    ryu_controller.StreamServer = Listener


def serve(sock: Any, address: Any) -> None:
    with closing(Channel(sock, address)) as channel:
        channel.serve()


# --- listening ------------------------------------------------------------------------


class Listener(hub.StreamServer):  # type: ignore[misc]
    """Takes in one connection at a time, so that no crowd of them delays a switch; and
    TLS: Ryu's gives the keys to its first connection only, and none to a second."""

    def __init__(self, address: Any, handle: Callable[..., None], **tls: Any) -> None:
        super().__init__(address, handle)
        if tls:
            context = context_of(tls["certfile"], tls["keyfile"], tls.get("ca_certs"))
            self.handle = partial(shake_hands, context)

    def serve_forever(self) -> None:
        while True:
            try:
                sock, address = self.server.accept()
            except OSError as error:  # no file descriptor is left: ask again later
                refuse("nobody", "a connection that could not be taken in")
                log.debug("accept: %s", error)
                hub.sleep(AGAIN)
                continue
            hub.spawn(self.handle, sock, address)
            hub.sleep(0)


class LocalListener(Listener):
    """A unix socket for the switches of this host, as ovs-vswitchd, which is root."""

    def __init__(self, path: str) -> None:
        self.server = private_socket.listen(path, "openflow", BACKLOG)
        self.handle = partial(serve_local, f"unix:{path}")
        self._path = path

    def stop(self) -> None:
        self.server.close()
        Path(self._path).unlink(missing_ok=True)


class LocalSocket:
    """A unix socket.  Ryu asks each for TCP_NODELAY, of which this one knows nothing,
    and needs nothing."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if level != socket.IPPROTO_TCP:
            self._sock.setsockopt(level, option, value)


def serve_local(name: str, sock: Any, _address: Any) -> None:
    if private_socket.is_trusted(sock):
        serve(LocalSocket(sock), name)
        return
    refuse(name, "a peer that is neither root nor the owner")
    sock.close()


def is_crowded(sock: Any, address: Any) -> bool:
    """Then it is closed."""
    if len(Channel.greeting) < HANDSHAKES_MAX:
        return False
    refuse(address, "too many connections without a handshake")
    sock.close()
    return True


def context_of(certificate: str, key: str, authority: str | None) -> ssl.SSLContext:
    """--ctl-cert, --ctl-privkey and --ca-certs; with the last, switches need one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if authority:
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def shake_hands(context: ssl.SSLContext, sock: Any, address: Any) -> None:
    """In the connection's own thread: who stalls, stalls alone, and not for long; one
    octet now and then makes it no longer."""
    if is_crowded(sock, address):
        return
    Channel.greeting.add(id(sock))
    try:
        with hub.Timeout(HANDSHAKE):
            wrapped = context.wrap_socket(sock, server_side=True)
    except (OSError, hub.Timeout) as error:  # of ssl, too
        refuse(address, "a TLS handshake that failed")
        log.debug("from %s: %s", address, error)
        sock.close()
        return
    finally:
        Channel.greeting.discard(id(sock))
    serve(wrapped, address)
