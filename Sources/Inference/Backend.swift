import CLibuv
import OpenAIFormat
import Primitives

/// One model at one model server: runs jobs on it, watches its health, and reports what it can do.
///
/// Not Sendable: made and used on the loop's thread only. The delegate is called on that thread, always from
/// a socket or the timer and never from inside one of these methods, and may call all of them. Call `close`
/// before dropping it.
public final class Backend {
    /// BackendJob ids above this belong to the backend's own jobs: measurements and trials.
    static let ownJobs = UInt64.max - 1_000_000
    /// Ollama unloads a model that has had no request for this long.
    static let unloadsAfter = Interval.minutes(5)

    public let configuration: BackendConfiguration
    public weak var delegate: (any BackendDelegate)?

    let http: HTTPStreams
    private let loop: UnsafeMutablePointer<uv_loop_t>
    private let reads: DocumentReads
    private let alarm: LoopAlarm
    private var jobs: [JobID: BackendJob] = [:]
    private var draining: [(transfer: TransferID, until: MonotonicTime)] = []
    private var nextOwnJob = Backend.ownJobs + 1
    private var isTicking = false
    private var isClosed = false
    var whenClosed: (() -> Void)?

    // Internal, because `BackendChecks` uses it.
    var server: ServerAddress?
    var health: HealthMachine
    var managed: ManagedServer?
    var fileDescription: ModelDescription?
    var description: ModelDescription?
    var meter: SpeedMeter
    var continues: Bool?
    /// What the tests at the start showed; nil: not tested yet.
    var tested: Abilities?
    /// The server's version that was tried; nil: it doesn't say.
    var testedVersion: String?
    var tests: ServerTests?
    /// Whether it answered the trial's chat; an embedding server doesn't.
    var answersChat = true
    private var isInquiring = false
    /// The last failure was a job's, so a healthy probe alone doesn't bring the backend up.
    var needsTrial = false
    /// A check in the background decides whether the server stays up: it is offered meanwhile.
    var isOnTrial = false
    /// Numbers the checks, so that answers to an abandoned check are ignored.
    var checkNumber = 0
    private var lastAnswerAt: MonotonicTime?
    private var told: BackendStatus?

    /// `meter`, `continues` and `tested` are results kept from an earlier run with the same server and model, in `version`.
    /// When all are given, nothing is measured at the start.
    public init(
        _ configuration: BackendConfiguration, http: HTTPStreams, loop: UnsafeMutablePointer<uv_loop_t>,
        meter: SpeedMeter? = nil, continues: Bool? = nil, tested: Abilities? = nil,
        version: String? = nil
    ) {
        self.configuration = configuration
        self.http = http
        self.loop = loop
        reads = DocumentReads(loop: loop)
        self.meter = meter ?? SpeedMeter()
        health = HealthMachine(
            backoffMin: configuration.limits.backoffMin, backoffMax: configuration.limits.backoffMax)
        self.continues = configuration.dialect.canContinue ? continues : false
        self.tested = tested
        testedVersion = version
        alarm = LoopAlarm(loop: loop)
        alarm.handler = { [weak self] in self?.tick() }
        switch configuration.place {
        case .url(let url):
            server = ServerAddress(
                dialect: configuration.dialect, url: url, apiKey: configuration.apiKey,
                certificates: configuration.certificates)
        case .managed(let options):
            managed = ManagedServer(options, loop: loop, http: http)
        }
    }

    deinit { precondition(isClosed, "a backend was dropped without close()") }

    // MARK: Life

    /// Starts the server if we manage it, and checks it. The delegate is told of every change of status.
    public func run() {
        if let managed { watch(managed) } else { check() }
    }

    /// Cancels every job without an event, stops a managed server, and closes the timer.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        checkNumber += 1
        tests?.cancel()
        for id in Array(jobs.keys) { drop(id) }
        for drain in draining { http.cancel(drain.transfer) }
        draining = []
        managed?.close()
        alarm.close()
        whenClosed?()
        whenClosed = nil
    }

    public var status: BackendStatus {
        let state: BackendStatus.State
        switch health.state {
        case .up: state = .up
        case .down(let reason, _): state = .down(reason)
        // During a new check, the reason for which it went down still holds.
        case .checking:
            if case .down(let reason)? = told?.state { state = .down(reason) } else { state = .starting }
        }
        return BackendStatus(
            state: state, description: description, meter: meter,
            announced: meter.paced(to: configuration.speed),
            continues: continues ?? false, abilities: abilities, tested: tested)
    }

    /// What it may be offered for: what every version of such a server does, what tests showed, what the server says of
    /// its model, and what its owner says.
    var abilities: Abilities {
        let dialect = configuration.dialect
        var abilities = dialect.knownAbilities
        abilities.formUnion(
            tested ?? (configuration.measures ? [] : dialect.unknownAbilities.intersection(.completion)))
        abilities.formUnion(configuration.stated)
        abilities.formUnion((description?.reports ?? []).intersection([.tools, .images, .embedding]))
        if continues == true { abilities.insert(.assistantLast) }
        if answersChat {
            abilities.insert(.chat)
        } else {
            abilities.formIntersection([.embedding, .dimensions])
        }
        return abilities
    }

    public var busySlots: Int { jobs.values.reduce(0) { $0 + ($1.observer == nil ? 1 : 0) } }

    /// The model's name at the server.
    var model: String? { configuration.model ?? description?.name }

    func now() -> MonotonicTime { LoopAlarm.now() }

    // MARK: Jobs

    /// Starts a job. Returns the reason when it can't start; then no event follows.
    public func start(_ request: JobRequest) -> BackendFailure? {
        guard case .up = health.state else { return BackendFailure(.down, "The model server is down.") }
        guard busySlots < configuration.slots else { return BackendFailure(.busy, "All slots are taken.") }
        precondition(
            jobs[request.id] == nil && request.id.rawValue <= Self.ownJobs,
            "job \(request.id.rawValue) already runs")
        return begin(request, observer: nil)
    }

    /// Ends a job at once: the connection closes and no event follows. An unknown id is ignored. If the
    /// server had been silent for unusually long (perhaps why the buyer gave up), it must answer a short
    /// question before the node offers it again.
    public func cancel(_ id: JobID) {
        guard let job = jobs[id] else { return }
        let isSilent = isSilent(job)
        drop(id)
        if isSilent { suspect() }
    }

    private func isSilent(_ job: BackendJob) -> Bool {
        job.observer == nil && job.isOverdue(meter, configuration.limits, now: now())
    }

    private func suspect() {
        guard case .up = health.state else { return }
        needsTrial = true
        check()
        tellStatus()
    }

    /// An answer broke. Its request may be the reason, so the server must answer a short question and is offered
    /// meanwhile: otherwise one question would take it from everybody.
    private func tryInBackground() {
        guard case .up = health.state, !isOnTrial else { return }
        needsTrial = true
        isOnTrial = true
        check()
    }

    private func drop(_ id: JobID) {
        guard let job = jobs.removeValue(forKey: id) else { return }
        job.over()
        if let transfer = job.transfer { http.cancel(transfer) }
        job.transfer = nil
    }

    /// Withholds the job's events and applies back-pressure to the server. Time spent paused doesn't count as
    /// hanging.
    public func pause(_ id: JobID) {
        jobs[id]?.hold(true, now: now())
        rearm()
    }

    /// Resumes the job's events.
    public func resume(_ id: JobID) {
        jobs[id]?.hold(false, now: now())
        rearm()
    }

    /// Starts a job of the backend's own, which takes no slot and reports to `observer` alone.
    func startOwn(
        body: JSONTree, delivered: [UInt8] = [], timeout: Interval, observer: @escaping (BackendEvent) -> Void
    ) -> BackendFailure? {
        let id = JobID(rawValue: nextOwnJob)
        nextOwnJob += 1
        return begin(
            JobRequest(
                id: id, kind: .chat, body: body.bytes, delivered: delivered, deadline: now() + timeout),
            observer: observer)
    }

    /// Larger documents are read on another thread: 8 MiB of JSON take long enough to make the loop late for
    /// everybody.
    private static let readOnLoopMax = 32 << 10

    private func begin(_ request: JobRequest, observer: ((BackendEvent) -> Void)?) -> BackendFailure? {
        guard !isClosed, server != nil, let model else {
            return BackendFailure(.down, "The model server is not ready.")
        }
        // Of some servers nobody says it: they keep to it themselves.
        let context = description?.context ?? configuration.context ?? .max
        let options = WorkerRequest.Options(
            dialect: configuration.dialect, model: model, tokensMax: context,
            extraFields: configuration.extraFields, abilities: observer == nil ? abilities : nil,
            limits: configuration.requestLimits, choicesMax: configuration.slots)
        let isLarge = request.body.count + request.delivered.count > Self.readOnLoopMax
        var read: WorkerRequest?
        if !isLarge {
            do throws(BackendFailure) { read = try request.filtered(options) } catch { return error }
        }
        let now = now()
        let job = BackendJob(
            request, isCold: isCold(now), speed: observer == nil ? configuration.speed : 0, now: now,
            backend: self, observer: observer)
        jobs[request.id] = job
        if let read {
            send(read, of: job)
        } else {
            let bytes = request.body.count + request.delivered.count
            reads.run(bytes: bytes) {
                Result { () throws(BackendFailure) in try request.filtered(options) }
            } then: { [weak self] read in
                self?.hasRead(read, of: job)
            } isNeeded: { [weak self] in
                self?.jobs[job.id] === job
            }
        }
        rearm()
        return nil
    }

    private func hasRead(_ read: Result<WorkerRequest, BackendFailure>, of job: BackendJob) {
        guard !isClosed, jobs[job.id] === job else { return }
        switch read {
        case .success(let filtered): send(filtered, of: job)
        case .failure(let failure): failed(job, failure)
        }
        rearm()
    }

    private func send(_ filtered: WorkerRequest, of job: BackendJob) {
        guard let server else { return failed(job, BackendFailure(.down, "The model server is down.")) }
        var post = server.request(job.kind.path, body: filtered.body, timeout: nil)
        post.headers.append(
            job.kind == .embedding ? "Accept: application/json" : "Accept: text/event-stream")
        job.sent(filtered, as: http.post(post, to: job), now: now())
    }

    /// Reads an embedding's answer and passes on its count of prompt tokens; nil if it is none for that many
    /// inputs.
    func readEmbedding(_ answer: [UInt8], inputs: Int, then done: @escaping (UInt32?) -> Void) {
        let read: @Sendable () -> UInt32? = {
            EmbeddingContent(scanning: answer, inputs: inputs).map { $0.usage?.promptTokens ?? 0 }
        }
        guard answer.count > Self.readOnLoopMax else { return done(read()) }
        reads.run(bytes: answer.count, read, then: done)
    }

    private func isCold(_ now: MonotonicTime) -> Bool {
        guard let lastAnswerAt else { return true }
        return configuration.dialect == .ollama && now - lastAnswerAt > Self.unloadsAfter
    }

    // MARK: Events of jobs

    func emit(_ job: BackendJob, _ event: BackendEvent) {
        guard job.reading != .over else { return }
        if let observer = job.observer { return observer(event) }
        delegate?.backend(configuration.id, job: job.id, did: event)
    }

    /// The answer is complete. Its connection is left to end by itself, so that it can be reused.
    func answerComplete(_ job: BackendJob, sample: SpeedMeter.Sample?) {
        let now = now()
        if description?.isContextAssumed == true { correctContext() }
        lastAnswerAt = now
        if let transfer = job.transfer { draining.append((transfer, now + configuration.limits.drain)) }
        job.transfer = nil
        health.answered()
        if let sample {
            meter.record(sample)
            if case .up = health.state, let told, meter.differs(from: told.meter) { tellStatus() }
        }
        rearm()
    }

    func finished(_ job: BackendJob, _ finish: JobFinish) {
        job.over()
        jobs[job.id] = nil
        if let observer = job.observer { return observer(.finished(finish)) }
        delegate?.backend(configuration.id, job: job.id, did: .finished(finish))
    }

    func failed(_ job: BackendJob, _ failure: BackendFailure) {
        let isSilent = isSilent(job)
        drop(job.id)
        if let context = failure.contextMax, configuration.context == nil { hasContext(context) }
        if let observer = job.observer { return observer(.failed(failure)) }
        if failure.mayBeTheRequests {
            tryInBackground()
        } else if failure.blamesBackend {
            down(failure, needsTrial: failure.code != .unreachable)
        } else if failure.code == .deadlineExceeded, isSilent {
            suspect()
        }
        delegate?.backend(configuration.id, job: job.id, did: .failed(failure))
    }

    // MARK: Silence and context

    /// Whether the server can say what it does while it sends nothing.
    var canInquire: Bool {
        switch configuration.dialect {
        case .llamaCpp, .ollama: !isInquiring && server != nil && !isClosed
        case .vllm, .openAI: false
        }
    }

    /// Asks the server what it does, for the jobs that hear nothing.
    private func inquire(_ now: MonotonicTime) {
        let silent = jobs.values.filter { $0.isInquiryDue(configuration.limits, now: now) }
        guard !silent.isEmpty, let server else { return }
        for job in silent { job.inquiredAt = now }
        isInquiring = true
        let path = configuration.dialect == .ollama ? "/api/ps" : "/slots"
        Fetch.start(server.request(path, timeout: configuration.limits.probe), on: http) {
            [weak self] answer in
            guard let self else { return }
            self.isInquiring = false
            if let progress = answer.json.flatMap(self.progress) {
                for job in silent where self.jobs[job.id] === job { job.tell(progress) }
            }
            self.rearm()
        }
    }

    private func progress(_ answer: JSONTree) -> JobProgress? {
        guard configuration.dialect == .llamaCpp else {
            let running = answer["models"]?.elements ?? []
            return running.contains { $0["name"]?.text == model || $0["model"]?.text == model }
                ? nil : .loading
        }
        return SlotsReport(answer)?.progress(
            tokensPerSecond: meter.prefillTokensPerSecond, generating: meter.tokensPerSecond)
    }

    /// A model that has answered is loaded, and its server knows the context that it got.
    private func correctContext() {
        guard let server, configuration.context == nil, let model else { return }
        ModelCatalogue(server: server, http: http, timeout: configuration.limits.probe).list(only: model) {
            [weak self] models in
            guard let self, case .success(let models) = models,
                let found = models.first(where: { $0.name == self.description?.name }),
                !found.isContextAssumed
            else { return }
            self.description?.isContextAssumed = false
            if let context = found.context { self.hasContext(context) }
        }
    }

    private func hasContext(_ context: UInt32) {
        guard description != nil, description?.context != context else { return }
        description?.context = context
        tellStatus()
    }

    // MARK: Health and time

    /// Marks the backend as unavailable.
    func down(_ reason: BackendFailure, needsTrial: Bool) {
        if needsTrial { self.needsTrial = true }
        isOnTrial = false
        checkNumber += 1
        health.failed(reason, now: now())
        tellStatus()
        rearm()
    }

    func tellStatus() {
        guard !isClosed else { return }
        let status = status
        guard status != told else { return }
        told = status
        delegate?.backend(configuration.id, became: status)
    }

    private func tick() {
        let now = now()
        isTicking = true
        for id in Array(jobs.keys) {
            guard let job = jobs[id] else { continue }
            job.tick(configuration.limits, now: now)
            job.afterTick(now: now)
        }
        for drain in draining where drain.until <= now { http.cancel(drain.transfer) }
        draining.removeAll { $0.until <= now }
        if health.probeAt <= now, server != nil { check() }
        if !isInquiring { inquire(now) }
        isTicking = false
        rearm()
    }

    /// Sets the timer to the earliest deadline.
    func rearm() {
        guard !isTicking, !isClosed else { return }
        var next = server == nil ? MonotonicTime.never : health.probeAt
        for job in jobs.values { next = min(next, job.nextDeadline(configuration.limits)) }
        for drain in draining { next = min(next, drain.until) }
        alarm.set(next, now: now())
    }
}
