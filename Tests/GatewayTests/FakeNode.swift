// A node controlled by a test. Tasks that the test doesn't handle itself are answered by `script`.

import Cryptography
import Market
import MeshDocuments
import NodeRuntime
import Primitives
import Synchronization
import Wire

/// An event that happens once, with a wait that has a time limit.
final class Moment: Sendable {
    private let state = Mutex<(happened: Bool, waiters: [CheckedContinuation<Void, Never>])>((false, []))

    func happen() {
        let waiters = state.withLock { state in
            state.happened = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    var hasHappened: Bool { state.withLock { $0.happened } }

    private func wait() async {
        await withCheckedContinuation { continuation in
            let happened = state.withLock { state in
                if !state.happened { state.waiters.append(continuation) }
                return state.happened
            }
            if happened { continuation.resume() }
        }
    }

    /// Whether it happens within `limit`.
    func happens(within limit: Duration) async -> Bool {
        let timer = Task {
            try? await Task.sleep(for: limit)
            if !Task.isCancelled { self.release() }
        }
        await wait()
        timer.cancel()
        return hasHappened
    }

    private func release() {
        let waiters = state.withLock { state in
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}

/// One submitted task, from the node's side.
struct FakeTask: Sendable {
    let request: TaskRequest
    let stream: TaskStream
    let cancelled: Moment
    /// The pipe was full, and the client has emptied it.
    let drained: Moment

    static let worker = Identity(seed: Bytes32(1, 2, 3, 4))
    static let price = Price(input: 200_000, cachedInput: 20_000, output: 2_000_000)

    func award(name: String = "ada", model: String = "") {
        stream.append(
            .awarded(
                AwardSummary(
                    attempt: 1, worker: Self.worker.publicKey, workerName: name, quantization: "q8_0",
                    digest: Bytes32(0x9f00_0000_0000_0000, 0, 0, 1), price: Self.price, known: 5, asked: 3,
                    bids: 3,
                    choose: .microseconds(100), collect: .microseconds(1_400), award: .microseconds(800),
                    resume: .stream, model: model)))
    }

    func queued(place: UInt32, milliseconds: UInt32) {
        stream.append(.progress(Progress(phase: .queued, tokens: milliseconds, place: place)))
    }

    @discardableResult
    func say(_ text: String, extra: String = "") -> Bool {
        stream.append(.delta(text: Array(text.utf8), tokens: 1, extra: Array(extra.utf8)))
    }

    func finish(_ reason: String = "stop", extra: String = "") {
        stream.append(
            .finished(
                TaskSummary(
                    reason: reason, promptTokens: 8, cachedTokens: 2, completionTokens: 22,
                    cost: Money(microCredits: 46),
                    workers: [Self.worker.publicKey], failovers: 0, firstToken: .microseconds(3_100),
                    extra: Array(extra.utf8))))
    }

    func fail(
        _ reason: Reason, _ message: String = "It did not work.",
        _ more: (inout TaskFailure) -> Void = { _ in }
    ) {
        var failure = TaskFailure(reason, message: message)
        more(&failure)
        stream.append(.failed(failure))
    }
}

final class FakeNode: MeshNode {
    private struct State {
        var tasks: [FakeTask] = []
        var waiters: [CheckedContinuation<FakeTask, Never>] = []
        var taken = 0
        var paused = false
        var terms: [String] = []
        var clients: [String] = []
        var random = SeededRandom(seed: 7)
    }
    private let state = Mutex(State())
    private let script: (@Sendable (FakeTask) -> Void)?
    private let highWater: Int
    private let lowWater: Int

    /// - Parameter script: answers each task at once; with nil, the test does so through `nextTask`.
    init(
        highWater: Int = TaskStream.highWaterBytes, lowWater: Int = TaskStream.lowWaterBytes,
        script: (@Sendable (FakeTask) -> Void)? = nil
    ) {
        self.highWater = highWater
        self.lowWater = lowWater
        self.script = script
    }

    var requests: [TaskRequest] { state.withLock { $0.tasks.map(\.request) } }

    func submit(_ request: TaskRequest, by client: String) async -> any TaskStreaming {
        state.withLock { $0.clients.append(client) }
        let (cancelled, drained) = (Moment(), Moment())
        let id = state.withLock { TaskID(random: &$0.random) }
        let stream = TaskStream(
            id: id, highWater: highWater, lowWater: lowWater, onResume: { drained.happen() },
            onCancel: { cancelled.happen() })
        let task = FakeTask(request: request, stream: stream, cancelled: cancelled, drained: drained)
        let waiter = state.withLock { state -> CheckedContinuation<FakeTask, Never>? in
            state.tasks.append(task)
            guard !state.waiters.isEmpty else { return nil }
            state.taken += 1
            return state.waiters.removeFirst()
        }
        waiter?.resume(returning: task)
        script?(task)
        return task.stream
    }

    func setTerms(_ text: String) async throws(TermsRefusal) {
        guard text.contains("wren-m") else {
            throw TermsRefusal(problem: "this node does not sell it", fix: "it sells wren-m")
        }
        state.withLock { $0.terms.append(text) }
    }

    var terms: [String] { state.withLock { $0.terms } }
    /// Who submitted the tasks.
    var clients: [String] { state.withLock { $0.clients } }

    func accounts(since day: Int64?) async -> LedgerDocument {
        LedgerDocument(
            asOf: "", since: day.map { "\($0)" }, owed: .zero, owing: .zero, peers: [], sales: [], leftOut: 0)
    }

    func settle(with node: String) async throws(SettleRefusal) -> SettleDocument {
        guard node == "ada" else {
            throw SettleRefusal(problem: "it failed", fix: "correct it", wasRun: node == "bob")
        }
        return SettleDocument(nodeID: node, name: node, paid: Money(microCredits: 7), unconfirmed: .zero)
    }

    func usage(of client: String?) async -> UsageDocument {
        let used = UsageSumsDocument(
            tasks: 1, promptTokens: 8, completionTokens: 22, cost: Money(microCredits: 46))
        let names = client.map { [$0] } ?? ["", "laptop"]
        return UsageDocument(
            node: client == nil ? BudgetDocument() : nil,
            clients: names.map {
                .init(
                    client: $0, budget: BudgetDocument(left: Money(microCredits: 9)),
                    used: PeriodsDocument(today: used, week: used, all: used), models: [])
            })
    }

    func quote(_ request: TaskRequest) async throws(TaskFailure) -> QuoteDocument {
        guard request.model == "wren-m" else { throw TaskFailure(.modelNotFound, message: "") }
        guard request.tokensIn < 10_000 else {
            var failure = TaskFailure(.contextTooSmall, message: "No seller takes so many tokens.")
            failure.known = 5
            throw failure
        }
        return QuoteDocument(
            model: request.model, tokensIn: Int(request.tokensIn), tokensOut: Int(request.tokensOutEstimate),
            known: 5, reasons: ["other_model": 4, "asked": 1],
            bids: [TaskBid(nodeID: "7qk4m2xa", name: "ada", outcome: "bid", queueMilliseconds: 40)])
    }

    func nextTask() async -> FakeTask {
        await withCheckedContinuation { continuation in
            let ready = state.withLock { state -> FakeTask? in
                guard state.taken < state.tasks.count else {
                    state.waiters.append(continuation)
                    return nil
                }
                state.taken += 1
                return state.tasks[state.taken - 1]
            }
            if let ready { continuation.resume(returning: ready) }
        }
    }

    func catalogue() async -> [ModelSummaryDocument] {
        ["wren-l", "wren-m", "wren-s"].map {
            ModelSummaryDocument(
                model: $0, context: 512, providers: $0 == "wren-m" ? 3 : 1, quantizations: ["q8_0"],
                features: ["chat"],
                lowestPrice: PriceDocument(input: 150_000, output: 1_600_000),
                highestPrice: PriceDocument(input: 250_000, output: 2_400_000))
        }
    }

    func peers() async -> PeersDocument {
        PeersDocument(
            own: SelfDocument(
                nodeID: "7qk4m2xa", publicKey: "k", name: "fay", mesh: "testnet-market", version: "0.1.0",
                reach: ReachDocument(state: "direct")),
            dropped: ["bad_mac": 3, "replayed": 0])
    }

    func offers(model: String?) async -> OffersDocument {
        OffersDocument(asOf: "asked for \(model ?? "all")")
    }

    func task(_ idOrPrefix: String) async -> TaskDocument? {
        guard idOrPrefix == "7f3k2m" else { return nil }
        return TaskDocument(
            task: "7f3k2m", state: "delivered", model: "wren-m", via: "fay",
            createdAt: Timestamp.text(milliseconds: 0),
            limits: TaskLimits(deadlineMilliseconds: 10_000),
            call: TaskCall(
                tokensIn: 8, tokensOutEstimate: 64, weights: .init(timePerSecond: 40, trustPower: 1)),
            candidates: TaskCandidates(known: 5, asked: 3))
    }

    func status() async -> StatusDocument {
        StatusDocument(
            name: "fay <script>\"", nodeID: "7qk4m2xa", publicKey: "k", mesh: "testnet-market",
            version: "0.1.0",
            uptimeSeconds: 64, state: state.withLock { $0.paused } ? .paused : .serving,
            reach: ReachDocument(state: "direct"),
            peers: 7,
            models: [
                ServedModelDocument(
                    model: "wren-m", slots: 2, slotsBusy: 2, places: 32, waiting: 3,
                    backend: .init(kind: "managed", url: "http://127.0.0.1:1", state: "ok"),
                    bids: .init(made: 5, won: 3, lost: 2))
            ], earned: Money(microCredits: 418))
    }

    func pause() async { state.withLock { $0.paused = true } }
    func resume() async { state.withLock { $0.paused = false } }

    func resolve(nodes: [String]) async -> [NodeMatch] { nodes.map(Self.match) }

    private static func match(_ node: String) -> NodeMatch {
        let worker = FakeTask.worker
        let other = NodeCandidate(key: worker.publicKey, label: "eve", endpoint: .loopback(7827))
        return switch node {
        case "ada", worker.nodeID.short: .node(worker.publicKey)
        case "eve": .labelled([other])
        case "0000000000000": .several([other, other])
        default: .none
        }
    }
}
