"""The composition root: builds the components, runs the main loop, closes them.

Threads, and the one thing each does:

- main: events → pipeline → session → panel and recorder; executes commands between two attempts;
  nothing in it waits for a disk or a pin, except a command for its log;
- camera: captures; the newest frame goes into the queue of the main loop;
- recorder: signs and commits, then EventStored or StoreFailed into the queue;
- link: outbox → broker; LinkChanged and CommandReceived into the queue;
- roster: receives and installs rosters, then RosterInstalled into the queue;
- panel: plays light and sound.
"""

import logging
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, Self

from edge import __version__
from edge.attendance.session import Session, StepResult
from edge.attendance.table import State
from edge.camera import Camera, open_camera
from edge.capture.capture_thread import CaptureThread
from edge.capture.exposure import CameraController
from edge.commands.actions import CommandActions, RuntimeConfig
from edge.commands.command_log import CommandLog
from edge.commands.handler import CommandHandler, CommandOutcome, CommandReply
from edge.commands.service import FILE, CommandService, RemoteConfig
from edge.contract.authority import AuthorityFile
from edge.contract.encryption import EncryptionKey, encryption_key_path
from edge.contract.keys import SigningKey
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.roster_manifest import manifest_topic
from edge.contract.topics import COMMAND, REPLY, UnitName
from edge.errors import ErrorCode, OutboxDamaged
from edge.gpio.cue_player import CuePlayer
from edge.gpio.reconnecting_panel import ReconnectingPanel
from edge.inference.models import Models
from edge.inference.pipeline import Pipeline
from edge.inference.quality import image_stats
from edge.mqtt.backoff import LinkTiming
from edge.mqtt.link import ConnectionManager
from edge.mqtt.subscriber import Subscription
from edge.outbox.event_signer import EventSigner, HealthReport, SigningContext
from edge.outbox.recorder import Recorder
from edge.outbox.replay import ReplayFinished
from edge.outbox.store import MIB, Outbox, OutboxReader
from edge.outbox.summary import rename_detail
from edge.roster.installer import RosterInstaller
from edge.roster.keys import read_key
from edge.roster.messages import (
    LoadRoster,
    RosterEvent,
    RosterInstalled,
    RosterLoaded,
    RosterMessageHandled,
    RosterReplies,
    RosterRequest,
    TopicsWanted,
)
from edge.roster.receipts import ReceiptTracker
from edge.roster.receiver import RosterReceiver
from edge.roster.store import PendingReceipt, RosterStore
from edge.roster.worker import RosterWorker
from edge.settings import Settings, SettingsFile
from edge.status.camera_outage import CameraOutage
from edge.status.faults import FaultMonitor
from edge.status.health import HealthState, free_bytes, power_warning, temperature
from edge.status.reporter import StatusReporter
from edge.status.restart_audit import RestartAudit
from edge.status.status_file import StatusFile
from edge.system import malloc as memory
from edge.system.clock import SystemClock
from edge.system.event_queue import EventQueue
from edge.system.power import STATE_FILE
from edge.system.sd_notify import Notifier
from edge.types import (
    Audit,
    AuditCode,
    CameraFault,
    CommandReceived,
    EventStored,
    Frame,
    LinkChanged,
    Outcome,
    ReplayEnded,
    RosterReceived,
    Stimulus,
    StoreFailed,
    TimerTick,
)

log = logging.getLogger(__name__)

TICK_S = 0.1  # how long the session waits for time to pass when nothing else happens
STORE_NS = 5_000_000_000  # for the last events of a replay to be stored
STATUS_NS = 1_000_000_000  # between two status updates; twice that while no frames come
STOP_S = 1.6  # for all threads to end; SIGTERM to exit is 2 s
CLOSE_SHARE = 0.65  # of the time left that one thread may take to end
CLOSE_LEAST_S = 0.05

Observer = Callable[[Stimulus, StepResult, State], None]
DaemonEvent = Stimulus | ReplayEnded | ReplayFinished | CommandReceived | RosterEvent


class ThreadComponent(Protocol):
    """A component with a thread of its own. It receives calls, and reports by messages."""

    name: str

    def start(self) -> None:
        """Start the thread."""
        ...

    def close(self, deadline: float | None = None) -> bool:
        """Finish the work in hand and end; return False if `deadline` has passed.

        `deadline` is a time of time.monotonic(). A second call does nothing.
        """
        ...


class AuditSource(Protocol):
    """A component of the main thread that has something to record from time to time."""

    def poll(self, now_ns: int) -> list[Audit]:
        """Return what to record now (time.monotonic_ns())."""
        ...


class Daemon:
    """One attendance unit. Building it opens everything; `run` works until stopped.

    Raises UsageError for what the operator must correct first (settings, keys, roster, pins).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        camera: Callable[[], Camera] | None = None,
        notifier: Notifier | None = None,
        status_file: StatusFile | None = None,
        restarts: RestartAudit | None = None,
        camera_outage: CameraOutage | None = None,
        power_file: Path = STATE_FILE,
        panel: Callable[[], CuePlayer] | None = None,
        observer: Observer | None = None,
        settings_file: SettingsFile | None = None,
    ) -> None:
        """`camera` and `panel` open other ones than those of the settings.

        `observer` is called by the main loop with each stimulus, the result of the session's step
        and the session's state after it. The command `reload` reads `settings_file` again.
        """
        self._events: EventQueue[Frame | DaemonEvent] = EventQueue()
        self._stop = threading.Event()
        self._replay_ended: ReplayEnded | None = None
        self._replay_ended_ns = 0
        self._unstored_attempts: dict[int, Outcome] = {}  # attempts handed to the recorder
        self._damage: OutboxDamaged | None = None
        self._shown_fault: str | None = None
        self._rosters: deque[RosterInstalled | RosterLoaded] = deque()  # for a quiet moment
        self._status_ns = self._rate_ns = time.monotonic_ns()
        self._rate_frames = 0
        self._ready = False
        self._recorder_hangs = False
        self._observer = observer
        self._health = HealthState(power_file=power_file)
        self._outage = camera_outage or CameraOutage()
        self._faults = FaultMonitor(self._health, self._outage)
        self._notifier = notifier or Notifier()
        self._restarts = restarts or RestartAudit()
        with ExitStack() as files:  # closed if the constructor fails, else by `close`
            self._build(
                settings,
                files,
                camera=camera,
                panel=panel,
                status_file=status_file or StatusFile(),
                settings_file=settings_file,
            )
            self._files = files.pop_all()

    def _build(
        self,
        base: Settings,
        files: ExitStack,
        *,
        camera: Callable[[], Camera] | None,
        panel: Callable[[], CuePlayer] | None,
        status_file: StatusFile,
        settings_file: SettingsFile | None,
    ) -> None:
        files.callback(self._notifier.close)
        clock = SystemClock(base.clock.state_file, base.clock.stale_after)
        self._command_log = CommandLog(base.outbox.file.parent / FILE, clock)
        files.callback(self._command_log.close)
        remote = RemoteConfig(base, self._command_log)
        settings = remote.settings

        self._models = models = Models(settings.inference.models)
        self._liveness_rules = models.liveness_rules(settings.liveness)
        self._roster_requests: EventQueue[RosterRequest] = EventQueue()
        installer = RosterInstaller(
            RosterStore(
                settings.roster.file,
                read_key(settings.roster.key, "roster key"),
                models.spec("identity").sha256,
            ),
            settings.roster,
            self._events,
            wait_for_delivery=settings.authority.keys.exists(),
        )
        gallery, rule = installer.gallery, installer.thresholds
        self._receipts = ReceiptTracker(
            gallery, installer.owed, installer.why_not, self._roster_requests
        )
        present = RuntimeConfig.of(settings, gallery, rule)
        settings = present.limits
        log.info("match from %.3f, ahead by %.3f, of %d", rule.threshold, rule.margin, gallery.size)
        self._health.enrolled = gallery.size
        self._pipeline = Pipeline(settings.inference, gallery)
        self._session = Session(
            settings.attendance,
            settings.roster,
            gallery.exempt,
            living=self._liveness_rules,
            passive=self._pipeline.judges_liveness,
            chance=iter(secrets.SystemRandom().random, None),
        )

        key = SigningKey.load_or_create(
            settings.outbox.signing_key, settings.outbox.signing_algorithm
        )
        self._outbox = Outbox(
            settings.outbox.file,
            settings.outbox.retention_days,
            settings.outbox.retention_events,
            clock=clock,
            signing_key=settings.outbox.signing_key,
            source=settings.unit.source,
            reserve_bytes=settings.outbox.min_free_mib * MIB,
        )
        files.callback(self._close_outbox)
        self._moved = rename_detail(self._outbox.newest(), settings.unit.source)
        context = SigningContext(
            unit=settings.unit,
            software=__version__,
            models=self._pipeline.digests,
            roster=gallery.digest or None,
            thresholds=settings.thresholds(self._liveness_rules),
        )
        self._signer = EventSigner(context, key, clock)

        refusals = RefusalCounter()
        self._authorities = AuthorityFile(settings.authority.keys)
        self._reader = OutboxReader(self._outbox.file)
        files.callback(self._reader.close)
        self._actions = CommandActions(
            base,
            present,
            self._command_log,
            self._reader,
            software=__version__,
            session=self._outbox.session,
            settings_file=settings_file,
        )
        self._handler = CommandHandler(
            AuthorityFile(settings.authority.keys),
            self._command_log,
            self._signer,
            actions=self._actions,
            refusals=refusals,
        )
        self._commands = CommandService(
            self._command_log, self._handler, self._actions, refusals, remote.trouble
        )

        self._unit = UnitName.of(settings.unit)
        self._roster_topics = Subscription(
            (manifest_topic(self._unit),), RosterReceived, self._roster_requests
        )
        command_topics = Subscription(
            (self._unit.subtopic(COMMAND, "+"),), CommandReceived, self._events
        )
        self._link = ConnectionManager(
            settings.broker,
            self._outbox.file,
            self._signer,
            session=self._outbox.session,
            events=self._events,
            timing=LinkTiming(health_interval=settings.broker.health_period),
            replay_rate=settings.outbox.replay_rate,
            subscriptions=(command_topics, self._roster_topics),
        )
        for unfinished in remote.replays:
            self._link.request_replay(unfinished)
        receiver = RosterReceiver(
            self._unit,
            AuthorityFile(settings.authority.keys),
            EncryptionKey.load_or_create(encryption_key_path(settings.outbox.signing_key)),
            settings.roster.file.with_name(settings.roster.file.name + ".incoming"),
            installer,
            events=self._events,
            refusals=refusals,
            clock=clock,
            reserve_bytes=settings.outbox.min_free_mib * MIB,
        )
        self._roster_worker = RosterWorker(self._roster_requests, self._events, installer, receiver)
        self._recorder = Recorder(self._outbox, self._signer, self._events, self._link.waker, clock)
        self._panel = ReconnectingPanel(panel or (lambda: CuePlayer(settings.gpio)))
        files.callback(self._panel.close)
        self._controller = CameraController(settings.camera)
        self._capture = CaptureThread(
            camera or (lambda: open_camera(settings.camera)),
            settings.camera,
            self._events,
        )
        self._reporter = StatusReporter(
            self._health, self._notifier, status_file, clock, settings.unit.source
        )
        files.callback(self._reporter.close)
        # Closed in reverse: store the last event, disconnect, finish a roster, release the camera.
        self._threads: tuple[ThreadComponent, ...] = (
            self._capture,
            self._roster_worker,
            self._link,
            self._recorder,
        )
        self._audit_sources: tuple[AuditSource, ...] = (
            self._faults,
            self._receipts,
            self._restarts,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """Ask `run` to finish the event in hand and return; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Run until `stop`, or until the replay has ended and its events are stored."""
        if self._moved is not None:
            self._record([Audit.now(AuditCode.MOVED, **self._moved)])
        self._record(self._restarts.report())
        self._record([Audit.now(AuditCode.STARTED, enrolled=self._health.enrolled)])
        self._link.set_health(self._health_report())
        for component in self._threads:
            component.start()
        while not self._stop.is_set() and not self._replay_is_over():
            self._run_once()
        if self._replay_ended is not None and self._replay_ended.error is not None:
            raise self._replay_ended.error
        if self._damage is not None:
            raise self._damage

    def _run_once(self) -> None:
        """Handle what has arrived, the newest frame last, and then what is due."""
        messages = self._events.get(TICK_S)
        frame: Frame | None = None
        stepped = False
        for message in messages:
            if isinstance(message, Frame):
                frame = message
            elif isinstance(message, Stimulus):
                stepped = True
                self._handle_stimulus(message)
            else:
                self._handle_message(message)
        now = time.monotonic_ns()
        if frame is not None:
            self._process(frame, now)
        elif not stepped:
            self._step(TimerTick())
        self._panel.poll()
        self._record(self._faults.set_gpio_fault(self._panel.fault))
        for reply in self._handler.overdue(time.monotonic()):
            self._send_reply(reply)
        if self._is_between_attempts:
            self._work_between_attempts()
        self._record(audit for source in self._audit_sources for audit in source.poll(now))
        self._health.roster_fault = self._receipts.fault
        self._pass_fault_to_session()
        if not self._ready and (frame is not None or self._health.fault):
            self._report_ready()
        if now - self._status_ns >= STATUS_NS * (1 if frame is not None else 2):
            self._update_status(frame, now)

    def _report_ready(self) -> None:
        self._ready = True
        memory.trim()
        self._notifier.ready()
        log.info("ready: %s", self._health.summary())

    def _process(self, frame: Frame, now: int) -> None:
        result = self._pipeline.process(frame)
        self._step(result)
        self._health.frames += 1
        self._notifier.watchdog()
        self._record(self._outage.observe_frame(now, useful=not self._health.camera_fault))
        self._capture.set_controls(self._controller.next_request(frame, result, now))

    def _replay_is_over(self) -> bool:
        """Whether the replay is over and its events are stored, or have had the time to be."""
        if self._replay_ended is None:
            return False
        return not self._unstored_attempts or time.monotonic_ns() > self._replay_ended_ns + STORE_NS

    # --- events --------------------------------------------------------------------------------

    def _handle_stimulus(self, stimulus: Stimulus) -> None:
        """Note what a stimulus says about the unit itself, then pass it to the session."""
        match stimulus:
            case LinkChanged(up):
                if up:
                    log.info("broker connected")
                self._health.link_up = up
            case CameraFault(why):
                self._record(self._faults.set_camera_fault(why))
                self._pass_fault_to_session()
                return
            case EventStored(ref):
                match self._unstored_attempts.pop(ref, None):
                    case Outcome.RECORDED:
                        self._health.recorded += 1
                    case Outcome.REFUSED:
                        self._health.refused += 1
                self._faults.set_storage_fault(None)
                self._note_audit_result(ref, stored=True)
                self._receipts.event_stored(ref)
                self._restarts.stored(ref)
            case StoreFailed(ref, why, trouble):
                self._unstored_attempts.pop(ref, None)
                self._note_audit_result(ref, stored=False)
                self._receipts.store_failed(ref, time.monotonic_ns())
                self._faults.set_storage_fault(why, trouble)
                if trouble is ErrorCode.OUTBOX_DAMAGED:  # the next start recovers it
                    self._damage = OutboxDamaged(why)
                    self.stop()
        self._pass_fault_to_session()
        self._step(stimulus)

    def _handle_message(
        self, message: ReplayEnded | ReplayFinished | CommandReceived | RosterEvent
    ) -> None:
        match message:
            case ReplayEnded():
                self._replay_ended, self._replay_ended_ns = message, time.monotonic_ns()
            case CommandReceived():
                self._handler.receive(message)
            case ReplayFinished(request):
                self._commands.mark_replayed(request)
            case RosterInstalled() | RosterLoaded():
                self._rosters.append(message)
            case RosterReplies(results):
                for result in results:
                    topic = self._unit.subtopic(REPLY, result.to)
                    self._link.publish_reply(topic, self._signer.reply(result))
            case TopicsWanted(topics):
                self._link.fetch_retained(self._roster_topics, topics)
            case RosterMessageHandled(delivery):
                self._link.acknowledge(delivery)

    def _step(self, stimulus: Stimulus) -> None:
        step = self._session.step(stimulus, time.monotonic_ns())
        for event in step.events:
            self._unstored_attempts[event.ref] = event.outcome
            self._recorder.submit(event)
        for cue in step.cues:
            self._panel.show(cue)
        if self._observer is not None:
            self._observer(stimulus, step, self._session.state)

    def _pass_fault_to_session(self) -> None:
        """Tell the session if the unit is out of order, or works again."""
        if self._health.fault != self._shown_fault:
            self._shown_fault = self._health.fault
            self._step(CameraFault(self._shown_fault))

    def _record(self, audits: Iterable[Audit]) -> None:
        for audit in audits:
            self._recorder.submit(audit)

    # --- commands and rosters ------------------------------------------------------------------

    @property
    def _is_between_attempts(self) -> bool:
        """Whether nobody's attempt is under way: each is judged by one set of rules."""
        return not self._session.attempting and not self._unstored_attempts

    def _work_between_attempts(self) -> None:
        """Use new rosters and execute commands."""
        while self._rosters:
            message = self._rosters.popleft()
            if isinstance(message, RosterInstalled):
                settings = self._actions.present.settings
                change = RuntimeConfig.of(settings, message.gallery, message.thresholds)
                self._apply_config(change, message.owed)
            elif (outcome := self._handler.resume(self._link.delivered, message)) is not None:
                self._apply_outcome(outcome, message.owed)
        audits, stored_change, replays = self._commands.poll(time.monotonic())
        self._record(audits)
        if stored_change is not None:
            self._apply_config(stored_change, None)
        for replay in replays:
            self._link.request_replay(replay)
        while (next_outcome := self._handler.execute_next(self._link.delivered)) is not None:
            self._apply_outcome(next_outcome, None)

    def _apply_outcome(self, outcome: CommandOutcome, owed: PendingReceipt | None) -> None:
        if outcome.load_roster is not None:
            self._roster_requests.put(LoadRoster(outcome.load_roster))
        if outcome.cue is not None:
            self._panel.show(outcome.cue)
        if outcome.change is not None:
            self._apply_config(outcome.change, owed)
        if outcome.replay is not None:
            self._link.request_replay(outcome.replay)
        self._record(outcome.audits)
        if outcome.reply is not None:
            self._send_reply(outcome.reply)

    def _apply_config(self, change: RuntimeConfig, owed: PendingReceipt | None) -> None:
        """Work with other settings or another roster from now on."""
        settings, gallery = change.limits, change.gallery
        self._pipeline.use_gallery(gallery)
        self._health.enrolled = gallery.size
        self._session.use_exempt(gallery.exempt)
        self._liveness_rules = self._models.liveness_rules(settings.liveness)
        self._session.use_rules(settings.attendance, settings.roster, self._liveness_rules)
        self._signer.use(gallery.digest, settings.thresholds(self._liveness_rules))
        self._panel.use_levels(settings.gpio.brightness, settings.gpio.volume)
        self._link.set_health_interval(settings.broker.health_period)
        self._actions.use(change)
        if self._receipts.use(gallery, owed, change.settings.roster):
            self._link.announce()  # `state` names the roster
        log.info("applied new settings or roster")

    def _note_audit_result(self, ref: int, *, stored: bool) -> None:
        reply = self._handler.event_stored(ref, stored=stored)
        if reply is not None:
            self._send_reply(reply)

    def _send_reply(self, reply: CommandReply) -> None:
        """Answer a command, and have the broker forget it."""
        if reply.topic:
            self._link.publish_reply(reply.topic, reply.token)
        self._link.acknowledge(reply.delivery)
        if reply.restart:
            log.info("restarts because of a command")
            self.stop()

    # --- status --------------------------------------------------------------------------------

    def _update_status(self, frame: Frame | None, now: int) -> None:
        health = self._health
        health.frame_rate = (health.frames - self._rate_frames) * 1e9 / (now - self._rate_ns)
        self._rate_frames, self._rate_ns, self._status_ns = health.frames, now, now
        self._controller.update_temperature(temperature())
        self._record(self._commands.audit_refusals(time.monotonic()))
        if self._outage.keep_alive_without_frames(now):
            self._notifier.watchdog()
        health.waiting = max(self._outbox.sequence - self._link.delivered, 0)
        health.broker, health.link_trouble = self._link.broker, self._link.error_code
        health.commands_trouble = self._commands.trouble
        damaged = self._authorities.damaged
        health.authorities_trouble = ErrorCode.AUTHORITIES if damaged else None
        image = None if frame is None else image_stats(frame.lores.y)
        health.level = None if image is None else image.level
        health.sharpness = None if image is None else image.sharpness
        self._reporter.update(frame=frame is not None)
        self._link.set_health(self._health_report())

    def _health_report(self) -> HealthReport:
        """Return what the link publishes as `health`."""
        health = self._health
        report = HealthReport(
            temperature_c=temperature(),
            disk_free_bytes=free_bytes(self._outbox.file.parent),
            frame_rate=round(health.frame_rate, 1),
            last_error=health.error_code or power_warning(health.power),
        )
        return self._commands.add_to(report)

    def close(self) -> None:
        """Finish the event in hand, then let go of camera, broker and lights; within 2 s."""
        self._notifier.stopping()
        self._capture.stop()
        self._record(self._commands.audit_refusals(time.monotonic(), ending=True))
        self._record([Audit.now(AuditCode.STOPPED)])
        end = time.monotonic() + STOP_S
        for component in reversed(self._threads):
            now = time.monotonic()
            if not component.close(now + max(CLOSE_LEAST_S, CLOSE_SHARE * (end - now))):
                log.error("%s did not end in time", component.name)
            self._handle_last_messages()
        self._recorder_hangs = self._recorder.is_running
        self._files.close()

    def _handle_last_messages(self) -> None:
        """Answer commands whose audit event was stored, and note finished replays."""
        for message in self._events.get(0.0):
            match message:
                case EventStored(ref):
                    self._note_audit_result(ref, stored=True)
                case ReplayFinished(request):
                    self._commands.mark_replayed(request)

    def _close_outbox(self) -> None:
        if not self._recorder_hangs:  # else the end of the process closes it
            self._outbox.close()


def run(settings: Settings, settings_file: SettingsFile | None = None) -> int:
    """Run one unit until SIGTERM or SIGINT; return the exit status. Arguments as for `Daemon`."""
    memory.limit_arenas()
    with Daemon(settings, settings_file=settings_file) as unit:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: unit.stop())
        unit.run()
    return 0
