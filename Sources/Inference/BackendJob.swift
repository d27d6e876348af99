import OpenAIFormat
import Primitives

/// One task at one model server: its transfer, how much of the answer was read, and what still waits to be
/// sent. What the answer counts is in `AnswerTally`.
///
/// Bytes come in by `received`; events go out by `Backend.emit`, only from `deliver`. All times are the
/// backend's.
final class BackendJob: TransferSink {
    enum Reading: Equatable {
        /// No byte of the answer yet.
        case waiting
        case streaming
        /// The answer is complete; pieces may still be waiting for their time.
        case complete
        /// Finished, failed or cancelled: no more events.
        case over
    }
    /// Bytes of an embedding's answer, and of an error's.
    static let bodyMax = 8 << 20
    static let errorBodyMax = 16 << 10
    /// Bytes outside any event before the answer is judged not to be an event stream.
    static let ignoredMax = 16 << 10
    static let headMax = 4 << 10
    /// How long an answer that is whole waits for its counts.
    static let countsWait = Interval.seconds(1)

    let id: JobID
    let kind: InferenceKind
    let deadline: MonotonicTime
    let isCold: Bool
    /// Fields of the request that the server doesn't get.
    private var droppedFields: [String] = []
    /// Vectors that an embedding's answer must have.
    private var inputs = 1
    private var tally = AnswerTally()
    /// The beginning of what came before any event: the cause, if it is no event stream.
    private var head: [UInt8] = []
    private var hasEvents = false
    /// How much of the prompt the server says to have read; nil: it has said nothing.
    private(set) var promptRead: UInt32?
    private var toldProgress: JobProgress?
    private var promptSpeed: BackendChunk.PromptSpeed?
    /// When the server was last asked what it does.
    var inquiredAt: MonotonicTime?
    private var startedAt: MonotonicTime
    /// Set for the backend's own jobs (checks): their events go here instead of to the delegate, and they
    /// take no slot.
    let observer: ((BackendEvent) -> Void)?
    private weak var backend: Backend?

    var transfer: TransferID?
    private(set) var reading = Reading.waiting
    private var events = ServerSentEvents()
    private var characters = WholeCharacters()
    private var body: [UInt8] = []
    var queue: PacedQueue
    /// The consumer asked for a pause.
    var isHeld = false
    private(set) var isServerPaused = false
    private(set) var wasHeld = false
    private var firstTokenAt: MonotonicTime?
    private var tokensWithFirst = 0
    private var lastTokenAt: MonotonicTime
    private var isDelivering = false

    init(
        _ request: JobRequest, isCold: Bool, speed: Double, now: MonotonicTime, backend: Backend,
        observer: ((BackendEvent) -> Void)?
    ) {
        id = request.id
        kind = request.kind
        deadline = request.deadline
        self.isCold = isCold
        self.observer = observer
        self.backend = backend
        startedAt = now
        lastTokenAt = now
        queue = PacedQueue(tokensPerSecond: speed, start: now)
    }

    /// The request goes to the server now.
    func sent(_ request: WorkerRequest, as transfer: TransferID, now: MonotonicTime) {
        droppedFields = request.droppedFields
        inputs = request.inputs
        tally = AnswerTally(of: request, dialect: backend?.configuration.dialect ?? .openAI)
        self.transfer = transfer
        startedAt = now
        lastTokenAt = now
    }

    /// When this job needs `tick` next.
    func nextDeadline(_ limits: BackendLimits) -> MonotonicTime {
        var next = min(deadline, inquiryAt(limits) ?? .never)
        if !isHeld { next = min(next, queue.nextDue) }
        if !isServerPaused, reading != .complete { next = min(next, hangAt(limits)) }
        if reading == .streaming, let wholeAt = tally.wholeAt { next = min(next, wholeAt + Self.countsWait) }
        return next
    }

    private func hangAt(_ limits: BackendLimits) -> MonotonicTime {
        firstTokenAt == nil ? lastTokenAt + limits.firstToken : lastTokenAt + limits.betweenTokens
    }

    /// When the server is asked what it does, while it is silent before the first token; nil: never.
    private func inquiryAt(_ limits: BackendLimits) -> MonotonicTime? {
        guard observer == nil, transfer != nil, firstTokenAt == nil, !isServerPaused,
            backend?.canInquire == true
        else { return nil }
        return max(inquiredAt ?? .zero, startedAt) + limits.inquiry
    }

    func isInquiryDue(_ limits: BackendLimits, now: MonotonicTime) -> Bool {
        inquiryAt(limits).map { $0 <= now } ?? false
    }

    /// What the server is known to do; told only when it is news.
    func tell(_ progress: JobProgress) {
        guard reading == .waiting || reading == .streaming, firstTokenAt == nil, progress != toldProgress
        else { return }
        toldProgress = progress
        // It works, if not on this yet.
        if let backend { lastTokenAt = backend.now() }
        backend?.emit(self, .progress(progress))
    }

    /// Whether the server has been silent for much longer than usual.
    func isOverdue(_ meter: SpeedMeter, _ limits: BackendLimits, now: MonotonicTime) -> Bool {
        guard reading == .waiting || reading == .streaming, !isServerPaused else { return false }
        let usual =
            firstTokenAt != nil
            ? 1 / max(meter.tokensPerSecond, 1e-3)
            : isCold ? meter.coldFirstTokenSeconds : meter.firstTokenSeconds
        return now - lastTokenAt > limits.silence(usualSeconds: usual)
    }

    /// Handles what is due.
    func tick(_ limits: BackendLimits, now: MonotonicTime) {
        guard reading != .over else { return }
        if deadline <= now {
            return fail(.deadlineExceeded, "The task's deadline passed.")
        }
        if let wholeAt = tally.wholeAt, wholeAt + Self.countsWait <= now { complete() }
        if !isServerPaused, reading != .complete, hangAt(limits) <= now {
            return fail(
                .hung,
                firstTokenAt == nil
                    ? "The model server sent no token within \(limits.firstToken.milliseconds / 1_000) s."
                    : "The model server stopped sending in mid-answer.")
        }
        deliver(now: now)
    }

    /// The consumer pauses, or resumes. Waiting pieces are sent by the clock, not from here.
    func hold(_ held: Bool, now: MonotonicTime) {
        isHeld = held
        if held { wasHeld = true }
        regulate(now: now)
    }

    func over() { reading = .over }

    // MARK: In

    func received(_ id: TransferID, status: Int, _ bytes: UnsafeRawBufferPointer) {
        guard reading == .waiting || reading == .streaming, let backend else { return }
        let now = backend.now()
        guard status == 200 else {
            body.append(contentsOf: bytes.prefix(Self.errorBodyMax - min(body.count, Self.errorBodyMax)))
            return
        }
        if reading == .waiting {
            reading = .streaming
            backend.emit(self, .started)
        }
        guard reading == .streaming else { return }
        if kind == .embedding {
            guard bytes.count <= Self.bodyMax - body.count else {
                return fail(.oversized, "The model server's answer is too long.")
            }
            body.append(contentsOf: bytes)
            return backend.rearm()
        }
        read(bytes, now: now)
        deliver(now: now)
        regulate(now: now)
        backend.rearm()
    }

    private func read(_ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
        var arrived: [ServerSentEvent] = []
        if !hasEvents { head.append(contentsOf: bytes.prefix(Self.headMax - min(head.count, Self.headMax))) }
        do { try events.feed(bytes, into: &arrived) } catch {
            return fail(.oversized, "The model server sent a line that is too long.")
        }
        if !arrived.isEmpty {
            hasEvents = true
            head = []
        }
        for event in arrived {
            guard reading == .streaming else { return }
            if event.data.elementsEqual("[DONE]".utf8) {
                // A server that is cut off behind a proxy ends like that: what it sent may be half an answer.
                if tally.wholeAt == nil { return fail(.closedEarly, Self.noReason) }
                return complete()
            }
            // Versions of llama.cpp begin the answers to several prompts with it.
            if event.data.elementsEqual("null".utf8) { continue }
            do {
                let chunk = try BackendChunk(scanning: event.data, choices: tally.choices)
                take(chunk, named: event.name, now: now)
            } catch {
                return fail(.garbage, "The model server sent a chunk that is not JSON, or not an answer's.")
            }
        }
        if events.ignoredBytes > Self.ignoredMax { failUnstreamed() }
    }

    /// The server answered 200 with something else than a stream of events: an error, a page, or nothing.
    private func failUnstreamed() {
        guard !hasEvents else { return fail(.garbage, "The model server's answer is not an event stream.") }
        let error = BackendErrorBody(body: head)
        switch error.meaning {
        case .other where error.message.isEmpty: fail(.closedEarly, "The model server's answer is empty.")
        case .other: fail(.garbage, "The model server's answer is no stream of events: \(error.message)")
        case .contextExceeded, .contentFilter: fail(error, .error, "")
        }
    }

    /// Fails by what the server's error means; else with `code` and these words before its own.
    private func fail(_ error: BackendErrorBody, _ code: BackendFailure.Code, _ words: String) {
        switch error.meaning {
        case .contextExceeded:
            backend?.failed(
                self, BackendFailure(.contextExceeded, error.message, contextMax: error.contextMax))
        case .contentFilter: fail(.contentFilter, error.message)
        case .other: fail(code, words + error.message)
        }
    }

    private func take(_ chunk: BackendChunk, named name: String, now: MonotonicTime) {
        if let error = chunk.error {
            return fail(error, .error, "The model server broke off: ")
        }
        if name == "error" { return fail(.error, "The model server broke off with an error.") }
        var says = !chunk.text.isEmpty
        if !chunk.complex.isEmpty {
            switch ChoicesContent(of: chunk.complex, isChat: kind == .chat) {
            // The buyer would blame the node for it.
            case .malformed:
                return fail(.garbage, "The model server sent choices that no client can have asked for.")
            case .none: break
            case .some: says = true
            }
        }
        let tokens = tally.count(chunk, says: says)
        if let speed = chunk.promptSpeed { promptSpeed = speed }
        if let end = chunk.ends.first(where: \.isFailure) {
            return fail(.error, "The model server gave its answer up, with the reason \(end.reason).")
        }
        tally.end(chunk.ends, now: now)
        if let read = chunk.promptRead, !says {
            promptRead = max(read, promptRead ?? 0)
            lastTokenAt = now
            tell(.prefill(tokens: promptRead ?? 0))
        }
        guard says || tokens > 0 || !chunk.complex.isEmpty else { return }
        if says || tokens > 0 {
            if firstTokenAt == nil { firstTokenAt = now }
            if firstTokenAt == now { tokensWithFirst += tokens }
        }
        lastTokenAt = now
        if chunk.complex.isEmpty {
            if let whole = characters.append(chunk.text, tokens: tokens), !whole.text.isEmpty {
                queue.append(.text(whole.text, tokens: whole.tokens))
            }
        } else if says || chunk.promptRead == nil {
            flushCharacters()
            queue.append(.complex(chunk.complex, tokens: tokens))
        }
    }

    private func flushCharacters() {
        if let rest = characters.flush(), !rest.text.isEmpty {
            queue.append(.text(rest.text, tokens: rest.tokens))
        }
    }

    private func complete() {
        guard reading == .streaming else { return }
        flushCharacters()
        reading = .complete
        let sample = sample(tally.usage)
        queue.append(
            .finish(JobFinish(reason: tally.reason, usage: tally.billed, droppedFields: droppedFields)))
        backend?.answerComplete(self, sample: sample)
    }

    private static let noReason = "The model server ended its answer without a finish reason."

    private func sample(_ usage: BackendUsage) -> SpeedMeter.Sample? {
        guard let firstTokenAt else { return nil }
        return SpeedMeter.Sample(
            isCold: isCold, firstToken: firstTokenAt - startedAt,
            prefillTokens: Int(usage.promptTokens) - Int(min(usage.promptTokens, usage.cachedTokens)),
            tokens: Int(usage.completionTokens), tokensWithFirst: tokensWithFirst,
            span: lastTokenAt - firstTokenAt, wasHeld: wasHeld, promptSpeed: promptSpeed)
    }

    func ended(_ id: TransferID, _ end: TransferEnd) {
        guard let backend else { return }
        transfer = nil
        guard reading == .waiting || reading == .streaming else { return }
        let now = backend.now()
        switch end {
        case .complete(status: 200, _): endOfAnswer()
        case .complete(let status, let wait): failed(withStatus: status, retryAfter: wait)
        case .untrusted(let words): backend.failed(self, .untrusted(words))
        case .unreachable: fail(.unreachable, "The model server can't be reached.")
        case .timedOut: fail(.unreachable, "The model server doesn't accept a connection.")
        case .brokenOff, .failed:
            if tally.wholeAt != nil, kind != .embedding {
                complete()
            } else {
                fail(.closedEarly, "The model server closed the connection in mid-answer.")
            }
        }
        deliver(now: now)
    }

    private func endOfAnswer() {
        guard kind == .embedding else {
            // Some servers close the connection instead of sending [DONE]; a finish reason shows that the
            // answer is complete.
            if tally.wholeAt != nil { return complete() }
            guard hasEvents else { return failUnstreamed() }
            return fail(.closedEarly, Self.noReason)
        }
        reading = .complete
        let answer = body
        body = []
        backend?.readEmbedding(answer, inputs: inputs) { [weak self] in
            self?.embeddingRead(answer, promptTokens: $0)
        }
    }

    /// `promptTokens`: nil if the answer is no embedding of what was asked.
    private func embeddingRead(_ answer: [UInt8], promptTokens: UInt32?) {
        guard reading == .complete, let backend else { return }
        guard let promptTokens else {
            let cause = answer.count <= Self.headMax ? BackendErrorBody(body: answer) : nil
            guard let cause, (try? JSONTree(parsing: answer))?["data"] == nil else {
                return fail(.garbage, "The model server's answer is not an embedding of each input.")
            }
            return fail(cause, .garbage, "The model server's answer is no embedding: ")
        }
        let usage = BackendUsage(promptTokens: promptTokens)
        queue.append(
            .finish(JobFinish(reason: "stop", usage: usage, extra: answer, droppedFields: droppedFields)))
        backend.answerComplete(self, sample: nil)
        deliver(now: backend.now())
    }

    private func failed(withStatus status: Int, retryAfter: Interval) {
        var error = BackendErrorBody(body: body)
        if error.message.isEmpty { error.message = "status \(status)" }
        if error.meaning != .other, status != 429, status != 503 { return fail(error, .error, "") }
        switch status {
        case 400, 413, 422: fail(.invalidRequest, "The model server refused the request: \(error.message)")
        case 401, 403: backend?.failed(self, .unauthorized)
        case 404: fail(.modelMissing, "The model server doesn't know the model: \(error.message)")
        case 429, 503:
            backend?.failed(
                self,
                BackendFailure(
                    .busy, "The model server is busy: \(error.message)",
                    retryAfter: retryAfter > .zero ? retryAfter : nil))
        default: fail(.error, "The model server failed: \(error.message)")
        }
    }

    func fail(_ code: BackendFailure.Code, _ message: String) {
        guard reading != .over else { return }
        backend?.failed(self, BackendFailure(code, message))
    }

    // MARK: Out

    /// Sends every piece that is due; adjacent text is merged into one event.
    func deliver(now: MonotonicTime) {
        guard !isDelivering, let backend else { return }
        isDelivering = true
        defer { isDelivering = false }
        var text: [UInt8] = []
        var tokens = 0
        func flush() {
            guard !text.isEmpty else { return }
            let (told, count) = (text, tokens)
            (text, tokens) = ([], 0)
            backend.emit(self, .text(told, tokens: count))
        }
        while !isHeld, reading != .over, let piece = queue.pop(now: now) {
            switch piece {
            case .text(let more, let count):
                text += more
                tokens += count
                // The backend's own checks cut between tokens, so they need each token as its own event.
                if observer != nil { flush() }
            case .complex(let choices, let count):
                flush()
                if reading != .over { backend.emit(self, .complex(choices, tokens: count)) }
            case .finish(let finish):
                flush()
                if reading != .over { backend.finished(self, finish) }
            }
        }
        flush()
    }

    /// Pauses the server while the queue is over its bound or the consumer is paused, and resumes it
    /// otherwise.
    private func regulate(now: MonotonicTime) {
        guard reading == .streaming, let transfer, let backend else { return }
        if !isServerPaused, isHeld || queue.isOverBound {
            isServerPaused = true
            wasHeld = true
            backend.http.pause(transfer)
        } else if isServerPaused, !isHeld, queue.hasRoom {
            isServerPaused = false
            lastTokenAt = now
            backend.http.resume(transfer)
        }
    }

    /// Pieces that were sent by the clock may have made room.
    func afterTick(now: MonotonicTime) { regulate(now: now) }
}
