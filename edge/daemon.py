"""The composition root: builds the parts, runs the loop, talks to systemd.

Threads, and the one thing each does:

- main: inbox → pipeline → session → panel and recorder; nothing in it waits for a disk or a pin;
- feed: camera → newest frame into the inbox;
- recorder: sign and commit, then Stored or StoreFailed into the inbox;
- link: outbox → broker, then LinkChanged into the inbox;
- panel: plays light and sound.
"""

import itertools
import logging
import math
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from edge import __version__
from edge.attendance.session import Session, StepResult
from edge.attendance.table import State
from edge.camera import Camera, open_camera
from edge.capture.capture_thread import CaptureThread
from edge.capture.exposure import CameraController
from edge.commands.actions import RuntimeConfig, change_of
from edge.commands.handler import CommandHandler
from edge.commands.service import CommandService, DaemonHooks
from edge.contract.authority import AuthorityFile
from edge.contract.keys import SigningKey
from edge.contract.roster_manifest import manifest_topic
from edge.contract.topics import COMMAND, UnitName
from edge.errors import ErrorCode, OutboxDamaged
from edge.gpio.cue_player import CuePlayer
from edge.gpio.reconnecting_panel import ReconnectingPanel
from edge.inference.models import Models
from edge.inference.pipeline import Pipeline
from edge.mqtt.backoff import LinkTiming
from edge.mqtt.link import ConnectionManager
from edge.mqtt.subscriber import Subscription
from edge.outbox.event_signer import EventSigner, SigningContext
from edge.outbox.recorder import Recorder
from edge.outbox.store import MIB, Outbox
from edge.outbox.summary import was_replaced
from edge.roster.installer import RosterInstaller
from edge.roster.keys import read_key
from edge.roster.receiver import RosterReceiver
from edge.settings import Settings
from edge.status.camera_outage import CameraOutage
from edge.status.faults import FaultMonitor
from edge.status.health import HealthState, temperature
from edge.status.reporter import StatusReporter
from edge.status.restart_audit import RestartAudit
from edge.status.status_file import StatusFile
from edge.system import malloc as memory
from edge.system.clock import Clock, SystemClock
from edge.system.event_queue import EventQueue
from edge.system.power import PowerReading, load_power_reading
from edge.system.sd_notify import Notifier
from edge.types import (
    Attempt,
    Audit,
    AuditCode,
    CameraFault,
    CommandReceived,
    Cue,
    EventStored,
    Frame,
    LinkChanged,
    MessageReceived,
    Outcome,
    RosterReceived,
    Stimulus,
    StoreFailed,
    TimerTick,
)

log = logging.getLogger(__name__)

TICK_S = 0.1  # how long the session waits for time to pass when nothing else happens
STORE_NS = 5_000_000_000  # for the last events of a replay to be stored
STATUS_NS = 1_000_000_000  # between two tellings, each with a frame; twice that where none comes
DETAIL = 200  # characters of a text in an audit event
STOP_S = 1.6  # for the threads that finish something; SIGTERM to exit is 2 s

Observer = Callable[[Stimulus, StepResult, State], None]


class Daemon:
    """One attendance unit. Building it opens everything; `run` watches the door until stopped.

    Raises CallerError for what a person must mend first (settings, keys, roster, models, pins).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        camera: Callable[[], Camera] | None = None,
        notifier: Notifier | None = None,
        board: StatusFile | None = None,
        past: RestartAudit | None = None,
        absence: CameraOutage | None = None,
        power: Callable[[], PowerReading | None] = load_power_reading,
        panel: Callable[[], CuePlayer] | None = None,
        observer: Observer | None = None,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        """`camera` and `panel` open other ones than those of the settings.

        `observer` is told, in the main loop, of each stimulus, what it brought about, and the
        session's state after it. `reread` reads the settings anew, when that is ordered.
        """
        self._inbox: EventQueue[Frame | Stimulus] = EventQueue()
        self._tally = HealthState(power=power)
        self._absence = absence or CameraOutage()
        self._faults = FaultMonitor(self._tally, self._audit, self._step, self._absence)
        self._stop = threading.Event()
        self._ended = threading.Event()  # the replay has shown its last frame
        self._ended_ns: int | None = None  # when that was noticed
        self._audit_refs = itertools.count(-1, -1)  # the session counts upward from 1
        self._waiting: dict[int, Outcome] = {}  # attempts handed to the recorder
        self._damage: OutboxDamaged | None = None
        self._notifier = notifier or Notifier()
        self._observer = observer
        self._board = board or StatusFile()
        self._past = past or RestartAudit()
        self._changes: deque[RuntimeConfig] = deque()  # ordered, for a moment without an attempt
        self._cues: deque[Cue] = deque()  # ordered, for now
        self._open_panel = panel or (lambda: CuePlayer(settings.gpio))
        with ExitStack() as opened:
            clock = SystemClock(settings.clock.state_file, settings.clock.stale_after)
            self._commands = CommandService(settings, clock, reread)
            opened.callback(self._commands.close)
            settings = self._commands.settings
            self._build(settings, camera or (lambda: open_camera(settings.camera)), clock, opened)
            opened.pop_all()  # from here on it is `close` that closes

    def _build(
        self, settings: Settings, camera: Callable[[], Camera], clock: Clock, opened: ExitStack
    ) -> None:
        key = read_key(settings.roster.key, "roster key")
        models = Models(settings.inference.models)
        embedder = models.spec("identity").sha256
        self._living = models.liveness_rules(settings.liveness)
        self._handover = RosterInstaller.open(settings, key, embedder, self._commands.use_roster)
        gallery = self._handover.gallery
        present = change_of(settings, gallery)
        settings = present.limits
        rule = settings.roster
        log.info("match from %.3f, ahead by %.3f, of %d", rule.threshold, rule.margin, gallery.size)
        self._pipeline = Pipeline(settings.inference, gallery)
        self._enrolled = gallery.size
        self._session = Session(
            settings.attendance,
            settings.roster,
            gallery.exempt,
            living=self._living,
            passive=self._pipeline.judges_liveness,
            chance=secrets.SystemRandom().random,
        )
        kept = settings.outbox
        signing_key = SigningKey.load_or_create(kept.signing_key, kept.signing_algorithm)
        outbox = Outbox(
            kept.file,
            kept.retention_days,
            kept.retention_events,
            signing_key=kept.signing_key,
            source=settings.unit.source,
            reserve_bytes=kept.min_free_mib * MIB,
        )
        opened.callback(outbox.close)
        self._outbox = outbox
        self._moved = was_replaced(outbox.newest(), settings.unit.source)
        context = SigningContext(
            unit=settings.unit,
            software=__version__,
            models=self._pipeline.digests,
            roster=gallery.digest or None,
            thresholds=settings.thresholds(self._living),
        )
        self._sealer = sealer = EventSigner(context, signing_key, clock)
        doors = DaemonHooks(
            changed=self._ordered,
            show=self._cues.append,
            audit=lambda code, detail: self._audit(code, **detail),
            stop=self.stop,
        )
        self._commands.attach(sealer, outbox, present, self._handover.load, doors)
        delivery = self._handover.listener(settings, sealer, self._commands.refusals)
        unit = UnitName.of(settings.unit)
        messages: EventQueue[MessageReceived] = EventQueue()
        commands = Subscription((unit.subtopic(COMMAND, "+"),), CommandReceived, messages)
        rosters = Subscription((manifest_topic(unit),), RosterReceived, messages)
        self._link = ConnectionManager(
            settings.broker,
            outbox.file,
            sealer,
            session=outbox.session,
            changed=lambda up: self._inbox.put(LinkChanged(up)),
            health_report=lambda: self._commands.vitals(
                self._tally.report(settings.outbox.file.parent)
            ),
            timing=LinkTiming(health_interval=settings.broker.health_period),
            replay_source=self._commands.archive,
            subscriptions=(commands, rosters),
        )
        self._commands.link = self._handover.link = self._link
        self._handover.subscription = rosters
        assert self._commands.handler is not None
        self._worker = _MessageWorker(messages, self._commands.handler, delivery, self._link)
        self._teller = StatusReporter(
            self._tally,
            self._notifier,
            self._board,
            outbox=outbox,
            link=self._link,
            clock=clock,
            authorities=AuthorityFile(settings.authority.keys),
            source=settings.unit.source,
            enrolled=lambda: self._enrolled,
        )
        self._recorder = Recorder(outbox, sealer, self._inbox.put, self._link.wake, clock)
        self._panel = ReconnectingPanel(self._open_panel)
        opened.callback(self._panel.close)
        self._steering = CameraController(settings.camera)
        self._feed = CaptureThread(
            camera,
            settings.camera,
            on_frame=self._inbox.put_latest,
            on_fault=lambda why: self._inbox.put(CameraFault(why)),
            on_end=self._ended.set,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """Ask `run` to finish the event in hand and return; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Watch the door until `stop`, or until the replay has ended and its events are stored."""
        self._recorder.start()
        self._link.start()
        self._worker.start()
        self._announce()
        self._commands.begin(self._handover.retry)
        self._feed.start()
        ready = False
        status_at = rate_at = time.monotonic_ns()
        rate_frames = 0
        while not self._stop.is_set() and not self._finished():
            messages = self._inbox.get(TICK_S)
            frame = next((each for each in messages if isinstance(each, Frame)), None)
            stimuli = [each for each in messages if not isinstance(each, Frame)]
            for stimulus in stimuli:
                self._take(stimulus)
            now = time.monotonic_ns()
            if frame is not None:
                view = self._pipeline.process(frame)
                self._step(view)
                self._tally.frames += 1
                self._notifier.watchdog()
                self._absence.observe_frame(self._audit, now, useful=not self._tally.camera_fault)
                self._feed.set_controls(self._steering.update_face_level(frame, view, now))
            elif not stimuli:
                self._step(TimerTick())
            if not ready and (frame is not None or self._tally.fault):
                ready = True
                memory.trim()
                self._notifier.ready()
                log.info("ready: %s", self._tally.summary(self._enrolled))
            self._faults.poll_storage(now)
            self._panel.poll()
            self._faults.set_gpio_fault(self._panel.fault)
            self._change()
            self._tell_of_roster(now)
            if now - status_at >= STATUS_NS * (1 if frame is not None else 2):
                rate = (self._tally.frames - rate_frames) * 1e9 / (now - rate_at)
                self._tally.frame_rate = rate
                rate_frames, rate_at, status_at = self._tally.frames, now, now
                self._steering.update_temperature(temperature())
                self._past.check_refused_reboot(self._audit)
                if self._absence.keep_alive_without_frames(now):
                    self._notifier.watchdog()
                self._teller.update(frame, self._commands.trouble)
                self._commands.tell_refusals()
        if self._feed.failure is not None:  # of a replay; a camera's faults end nothing
            raise self._feed.failure
        if self._damage is not None:
            raise self._damage

    def _announce(self) -> None:
        if self._moved is not None:
            self._audit(AuditCode.MOVED, **self._moved)
        self._past.report(self._audit)
        self._audit(AuditCode.STARTED, enrolled=self._enrolled)

    def _finished(self) -> bool:
        """Whether the replay is over and its events are stored, or have had the time to be."""
        if not self._ended.is_set():
            return False
        if self._ended_ns is None:
            self._ended_ns = time.monotonic_ns()
        return not self._waiting or time.monotonic_ns() > self._ended_ns + STORE_NS

    def _take(self, stimulus: Stimulus) -> None:
        """Note what a stimulus says about the unit itself, then let the session have it."""
        match stimulus:
            case LinkChanged(up):
                if up:
                    log.info("broker connected")
                self._tally.link_up = up
            case CameraFault(why):
                self._faults.set_camera_fault(why)
                return
            case EventStored(ref):
                match self._waiting.pop(ref, None):
                    case Outcome.RECORDED:
                        self._tally.recorded += 1
                    case Outcome.REFUSED:
                        self._tally.refused += 1
                self._faults.set_storage_fault(None)
                self._commands.stored(ref, stored=True)
                self._handover.stored(ref)
                self._past.stored(ref)
            case StoreFailed(ref, why, trouble):
                self._waiting.pop(ref, None)
                self._commands.stored(ref, stored=False)
                self._handover.store_failed(ref, time.monotonic_ns())
                self._faults.set_storage_fault(why, trouble)
                if trouble is ErrorCode.OUTBOX_DAMAGED:  # the next start mends it
                    self._damage = OutboxDamaged(why)
                    self.stop()
        self._step(stimulus)

    def _step(self, stimulus: Stimulus) -> None:
        step = self._session.step(stimulus, time.monotonic_ns())
        for event in step.events:
            self._submit(event)
        for cue in step.cues:
            self._panel.show(cue)
        if self._observer is not None:
            self._observer(stimulus, step, self._session.state)

    def _ordered(self, change: RuntimeConfig) -> None:
        """Keep a change for the main loop. Each is whole: settings and roster as they then are."""
        self._handover.pending(change.gallery)
        self._changes.append(change)

    def _change(self) -> None:
        """Do what was ordered; rules change between two attempts, each is judged by one set."""
        while self._cues:
            self._panel.show(self._cues.popleft())
        if not self._changes or self._session.attempting or self._waiting:
            return
        change = self._changes.popleft()
        settings, gallery = change.limits, change.gallery
        self._pipeline.gallery = gallery
        self._enrolled = gallery.size
        self._session.use_exempt(gallery.exempt)
        self._session.use_rules(settings.attendance, settings.roster, self._living)
        self._sealer.use(gallery.digest, settings.thresholds(self._living))
        self._panel.use_levels(settings.gpio.brightness, settings.gpio.volume)
        self._link.set_health_interval(settings.broker.health_period)
        self._handover.activated(gallery)
        log.info("other settings or another roster are in force, as ordered")

    def _tell_of_roster(self, now: int) -> None:
        self._handover.poll(now, self._audit)
        self._faults.set_roster_fault(self._handover.why_not)

    def _submit(self, event: Attempt) -> None:
        self._waiting[event.ref] = event.outcome
        self._recorder.submit(event)

    def _audit(self, code: AuditCode, **detail: Any) -> int:
        event = Audit(
            ref=next(self._audit_refs),
            code=code,
            captured_ns=time.monotonic_ns(),
            # What a library says may be longer than the contract takes.
            detail={k: v[:DETAIL] if isinstance(v, str) else v for k, v in detail.items()},
        )
        self._recorder.submit(event)
        return event.ref

    def close(self) -> None:
        """Finish the event in hand, then let go of camera, broker and lights; within 2 s."""
        self._notifier.stopping()
        deadline = time.monotonic() + STOP_S

        def left(share: float) -> float:
            return max(0.05, share * (deadline - time.monotonic()))

        self._feed.stop()
        self._commands.tell_refusals(ending=True)
        self._audit(AuditCode.STOPPED)
        stored = self._recorder.close(timeout=left(0.6))
        if not stored:
            log.error("the disk did not take the last event in time")
        self._worker.close(left(0.35))
        self._link.close(timeout=left(0.7))
        self._feed.close(timeout=left(1.0))
        if stored:  # else the recorder still holds the outbox, and the process's end closes it
            self._outbox.close()
        self._commands.close()
        self._panel.close()
        self._teller.close()
        self._notifier.close()


class _MessageWorker(threading.Thread):
    """Handles the messages to this unit one after another."""

    def __init__(
        self,
        messages: EventQueue[MessageReceived],
        commands: CommandHandler,
        rosters: RosterReceiver,
        link: ConnectionManager,
    ) -> None:
        super().__init__(name="messages", daemon=True)
        self._messages = messages
        self._commands = commands
        self._rosters = rosters
        self._link = link

    def run(self) -> None:
        due = math.inf
        while not self._messages.closed:
            wait = None if due == math.inf else max(0.0, due - time.monotonic())
            for message in self._messages.get(wait, limit=1):
                handler = self._commands if isinstance(message, CommandReceived) else self._rosters
                try:
                    handler.heard(message.topic, message.payload, message.retained)
                except Exception as error:  # noqa: BLE001 - a message never ends the thread
                    # Without a traceback, which may quote the message.
                    log.error("a message was not understood (%s)", type(error).__name__)  # noqa: TRY400
                self._link.acknowledge(message.delivery)
            due = self._rosters.poll(time.monotonic())

    def close(self, timeout: float) -> None:
        """Finish the message in hand, leave the rest to the broker."""
        self._messages.close()
        if self.is_alive():
            self.join(timeout)


def run(settings: Settings, reread: Callable[[], Settings] | None = None) -> int:
    """Run one unit until SIGTERM or SIGINT; returns the exit status. `reread` as for `Daemon`."""
    memory.limit_arenas()
    with Daemon(settings, reread=reread) as unit:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: unit.stop())
        unit.run()
    return 0
