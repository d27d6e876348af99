import Primitives
import TestSupport
import Testing
import Wire

@testable import Market

/// Faults of a run, as chances in a thousand.
struct Faults {
    var loss = 0
    var backendFails = 0
    var backendHangs = 0
    var clientLeaves = 0
    /// Mean time between kills, restarts and freezes of random nodes; nil: none.
    var outageEvery: Interval?
    var outagesEnd = Interval.seconds(30)
}

/// Many auctioneers and bidders in virtual time, with lossy requests, ordered channels and scripted backends.
/// It stands in for PeerCore and the shell: it carries out actions and knows nothing of the market.
final class World {
    struct Node {
        var seller: Seller
        var serves: Bool
        var auctioneer: Auctioneer
        var bidder: Bidder
        var isAlive = true
        /// Rises with each restart; messages sent to an older epoch are lost.
        var epoch = 0
        var frozenUntil: MonotonicTime?
        var wakeAt = MonotonicTime.never
        var diedAt = MonotonicTime.never
    }
    struct Channel {
        var ends: (Int, Int)
        var isOpen = true
        var arrival: (MonotonicTime, MonotonicTime) = (.zero, .zero)
    }
    struct Client {
        var node: Int
        var epoch: Int
        var expected: [UInt8]
        var maxTokens: Int?
        var text: [UInt8] = []
        var tokens: UInt32 = 0
        var summary: TaskSummary?
        var failure: TaskFailure?
        var ends = 0
        var cancelled = false
        var eventsAfterEnd = 0
    }
    final class Backend {
        var next: Int
        var isPaused = false
        var isStopped = false
        init(next: Int) { self.next = next }
    }
    /// Something to do at a node, unless its process has ended by then; or a fault of the nodes.
    private struct Event {
        var node: Int?
        var epoch: Int
        var run: () -> Void
    }

    var nodes: [Node] = []
    var clients: [TaskID: Client] = [:]
    var order: [TaskID] = []
    var channels: [ChannelID: Channel] = [:]
    var pool: [[Int]: [ChannelID]] = [:]
    var backends: [[UInt64]: Backend] = [:]
    var turn: Turn
    let faults: Faults
    /// Of each model, in its seller's queue.
    let places: Int
    var receiptsIssued = 0
    var receiptsAccepted = 0
    /// Plans everything, including alarms: a frozen node does all of it later. Requests are lost according to
    /// `faults`.
    private var network: VirtualNetwork<Event>
    private var nextChannel: UInt64 = 100

    static let tokenBytes = 5

    init(seed: UInt64, sellers: Int, buyers: Int, faults: Faults, places: Int = 0) {
        turn = Turn(now: moment(0), random: SeededRandom(seed: seed))
        network = VirtualNetwork(seed: seed, latency: .zero)
        self.faults = faults
        self.places = places
        for number in 0..<sellers + buyers {
            let seller = Seller(
                UInt64(10 + number), "n\(number)", price: price(20, 100 + Int64(random.below(200))),
                speed: UInt32(20_000 + random.below(180_000)), first: UInt32(5 + random.below(60)),
                context: 4_096,
                slots: UInt32(1 + random.below(3)),
                reachability: number.isMultiple(of: 5) ? .outbound : .direct)
            nodes.append(make(seller, serves: number < sellers))
        }
        if let every = faults.outageEvery {
            scheduleOutage(every)
            keepAlive()
        }
    }

    /// Stands in for Discovery's pings: live nodes are heard from.
    private func keepAlive() {
        at(.seconds(2)) {
            let living = self.nodes.filter { $0.isAlive && $0.frozenUntil == nil }.map(\.seller.key)
            for node in self.nodes.indices {
                for key in living { self.nodes[node].auctioneer.heard(key, self.time) }
            }
            if self.time < .zero + self.faults.outagesEnd { self.keepAlive() }
        }
    }

    private func make(_ seller: Seller, serves: Bool) -> Node {
        var bidder = Bidder(identity: seller.identity)
        bidder.acceptsChannels = seller.offer.reachability == .direct
        var served = seller.served
        served.places = places
        if serves { bidder.setServed([served]) }
        return Node(
            seller: seller, serves: serves, auctioneer: Auctioneer(identity: seller.identity), bidder: bidder)
    }

    // MARK: - Time

    var time: MonotonicTime { network.now }

    var random: SeededRandom {
        _read { yield turn.random }
        _modify { yield &turn.random }
    }

    var now: Now {
        Now(monotonic: time, wall: WallTime(milliseconds: 1_800_000_000_000 + time.nanoseconds / 1_000_000))
    }

    func at(_ delay: Interval, node: Int? = nil, _ run: @escaping () -> Void) {
        let epoch = node.map { nodes[$0].epoch } ?? 0
        network.plan(Event(node: node, epoch: epoch, run: run), after: delay)
    }

    func run(until end: Interval) {
        while let happening = network.next(until: .zero + end) {
            guard case .event(let event) = happening else { continue }
            if let node = event.node {
                guard nodes[node].isAlive, nodes[node].epoch == event.epoch else { continue }
                if let thaw = nodes[node].frozenUntil {
                    if thaw > time {
                        at(thaw - time, node: node, event.run)
                        continue
                    }
                    nodes[node].frozenUntil = nil
                    // The sockets are drained before timers fire.
                    at(.milliseconds(1), node: node) { self.thawed(node) }
                }
            }
            event.run()
        }
    }

    private func thawed(_ node: Int) {
        enter(node) { node, turn, buyer, _ in
            node.auctioneer.loopWasStalled(turn: &turn, out: &buyer)
        }
        wake(node)
    }

    private func wake(_ node: Int) {
        nodes[node].wakeAt = .never
        enter(node) { node, turn, buyer, worker in
            node.auctioneer.tick(turn: &turn, out: &buyer)
            node.bidder.tick(turn: &turn, out: &worker)
        }
    }

    /// One turn of a node: a call into its machines, then their actions.
    func enter(
        _ index: Int,
        _ body: (inout Node, inout Turn, inout [AuctioneerAction], inout [BidderAction]) -> Void
    ) {
        var buyer: [AuctioneerAction] = []
        var worker: [BidderAction] = []
        turn.now = now
        body(&nodes[index], &turn, &buyer, &worker)
        for action in buyer { perform(action, index) }
        for action in worker { perform(action, index) }
        let next = min(nodes[index].auctioneer.nextDeadline(), nodes[index].bidder.nextDeadline())
        guard next < nodes[index].wakeAt else { return }
        nodes[index].wakeAt = next
        at(max(.zero, next - time), node: index) {
            if self.nodes[index].wakeAt <= self.time { self.wake(index) }
        }
    }

    // MARK: - Faults

    private func scheduleOutage(_ every: Interval) {
        at(random.interval(.zero, every * 2)) {
            guard self.time < .zero + self.faults.outagesEnd else { return }
            let node = self.random.below(self.nodes.count)
            if self.nodes[node].isAlive && self.nodes[node].frozenUntil == nil {
                if self.random.chance(1, in: 3) {
                    self.nodes[node].frozenUntil = self.time + .seconds(3)
                    self.at(.seconds(3), node: node) {}
                } else {
                    self.kill(node)
                    self.at(.seconds(5)) { self.restart(node) }
                }
            }
            self.scheduleOutage(every)
        }
    }

    func kill(_ node: Int) {
        nodes[node].isAlive = false
        nodes[node].epoch += 1
        nodes[node].diedAt = time
        for key in backends.keys where key[0] == UInt64(node) { backends[key]?.isStopped = true }
        for (id, channel) in channels.sorted(by: { $0.key < $1.key }) where channel.isOpen {
            if channel.ends.0 == node || channel.ends.1 == node { end(id, by: node) }
        }
    }

    /// A node that is answering one of this buyer's tasks now.
    func busyWorker(of buyer: Int) -> Int? {
        let auctioneer = nodes[buyer].auctioneer
        for task in auctioneer.running {
            guard let last = auctioneer.transcript(task)?.assignments.last, last.ended == .running else {
                continue
            }
            return index(last.worker)
        }
        return nil
    }

    private func restart(_ node: Int) {
        let epoch = nodes[node].epoch
        nodes[node] = make(nodes[node].seller, serves: nodes[node].serves)
        nodes[node].epoch = epoch + 1
        for other in nodes.indices where nodes[other].isAlive {
            nodes[other].auctioneer.heard(nodes[node].seller.key, time)
        }
    }

    // MARK: - Clients

    func ask(_ node: Int, tokens: Int, maxTokens: Int? = nil, resumable: Bool = true) {
        guard nodes[node].isAlive else { return }
        let body = Array("\(tokens)".utf8)
        let wanted = MarketTests.request { request in
            request.body = body
            request.tokensOutMax = maxTokens.map { UInt32($0) }
            request.tokensOutEstimate = UInt32(tokens)
            request.deadline = .seconds(40)
            request.resumable = resumable
        }
        let expected = (0..<min(tokens, maxTokens ?? tokens)).flatMap { Self.token($0) }
        var task: TaskID?
        let client = Client(node: node, epoch: nodes[node].epoch, expected: expected, maxTokens: maxTokens)
        enter(node) { node, turn, buyer, _ in
            let id = node.auctioneer.submit(wanted, turn: &turn, out: &buyer)
            task = id
            self.order.append(id)
            self.clients[id] = client
        }
        guard let task, random.chance(faults.clientLeaves, in: 1_000) else { return }
        at(random.interval(.zero, .seconds(3)), node: node) {
            guard self.nodes[node].auctioneer.isRunning(task) else { return }
            self.clients[task]?.cancelled = true
            self.enter(node) { node, turn, buyer, _ in
                node.auctioneer.cancel(task, turn: &turn, out: &buyer)
            }
        }
    }

    static func token(_ number: Int) -> [UInt8] {
        let digits = Array("\(number)".utf8)
        return [UInt8](repeating: 48, count: 4 - digits.count) + digits + [32]
    }

    private func client(_ task: TaskID, _ event: ClientEvent) {
        guard var client = clients[task] else { return }
        if client.ends > 0 { client.eventsAfterEnd += 1 }
        switch event {
        case .awarded, .progress, .restarted, .quoted: break
        case .delta(let text, let tokens, _):
            client.text += text
            client.tokens += tokens
            at(random.interval(.zero, .milliseconds(30)), node: client.node) {
                self.enter(client.node) { node, turn, buyer, _ in
                    node.auctioneer.consumed(
                        task, bytes: UInt64(text.count), turn: &turn, out: &buyer)
                }
            }
        case .finished(let summary):
            client.summary = summary
            client.ends += 1
        case .failed(let failure):
            client.failure = failure
            client.ends += 1
        }
        clients[task] = client
    }

    // MARK: - Actions

    private func latency() -> Interval { random.interval(.microseconds(300), .milliseconds(25)) }

    func index(_ key: PublicKey) -> Int { nodes.firstIndex { $0.seller.key == key } ?? 0 }

    private func perform(_ action: AuctioneerAction, _ node: Int) {
        switch action {
        case .needOffers(let task, _):
            at(.zero, node: node) { self.offer(task, to: node) }
        case .request(let token, let message, let to):
            request(token, message, from: node, to: index(to.key))
        case .send(let message, let to):
            let target = index(to.key)
            guard !random.chance(faults.loss, in: 1_000) else { return }
            let from = nodes[node].seller.address
            at(latency(), node: target) {
                self.enter(target) { target, turn, _, worker in
                    _ = target.bidder.handle(
                        message, from: from, group: UInt64(from.endpoint.port), proven: true, turn: &turn,
                        out: &worker)
                }
            }
        case .openChannel(let task, let attempt, let to):
            dial(task, attempt, node, index(to.key), byBuyer: true)
        case .sendFrame(let channel, let frame): send(frame, on: channel, from: node)
        case .releaseChannel(let channel): release(channel, node)
        case .closeChannel(let channel): end(channel, by: node)
        case .client(let task, let event): client(task, event)
        case .receiptIssued: receiptsIssued += 1
        case .sellerJudged: break
        }
    }

    private func offer(_ task: TaskID, to node: Int) {
        let sellers = nodes.filter { $0.serves && ($0.isAlive || time - $0.diedAt < .seconds(2)) }.map(
            \.seller.candidate)
        let reachable = nodes[node].seller.offer.reachability == .direct
        enter(node) { node, turn, buyer, _ in
            node.auctioneer.offersFound(
                task, OffersFound(sellers: sellers, known: sellers.count, selfReachable: reachable),
                turn: &turn, out: &buyer)
        }
    }

    private func perform(_ action: BidderAction, _ node: Int) {
        switch action {
        case .startJob(let job): start(job, node)
        case .cancelJob(let id): backends.removeValue(forKey: [UInt64(node), id.rawValue])?.isStopped = true
        case .pauseJob(let id): backends[[UInt64(node), id.rawValue]]?.isPaused = true
        case .resumeJob(let id):
            guard let backend = backends[[UInt64(node), id.rawValue]] else { return }
            backend.isPaused = false
        case .sendFrame(let channel, let frame): send(frame, on: channel, from: node)
        case .openChannel(let task, let attempt, let to):
            dial(task, attempt, node, index(to.key), byBuyer: false)
        case .releaseChannel(let channel): release(channel, node)
        case .closeChannel(let channel): end(channel, by: node)
        case .receiptAccepted: receiptsAccepted += 1
        case .declined, .buyerJudged: break
        }
    }

    // MARK: - Requests and channels

    private final class Once { var done = false }

    private func request(_ token: RequestToken, _ message: MarketMessage, from node: Int, to target: Int) {
        let once = Once()
        let started = time
        let address = nodes[target].seller.address
        let from = nodes[node].seller.address
        let complete = { (answer: MarketMessage?) in
            guard !once.done else { return }
            once.done = true
            let roundTrip = self.time - started
            self.enter(node) { node, turn, buyer, _ in
                if let answer {
                    node.auctioneer.answered(
                        token, answer, from: address, roundTrip: roundTrip, turn: &turn, out: &buyer)
                } else {
                    node.auctioneer.unanswered(token, turn: &turn, out: &buyer)
                }
            }
        }
        for delay in [Interval.zero, .milliseconds(250)] {
            at(delay, node: node) {
                guard !once.done, !self.random.chance(self.faults.loss, in: 1_000) else { return }
                self.at(self.latency(), node: target) {
                    var answer: MarketMessage?
                    self.enter(target) { target, turn, _, worker in
                        answer = target.bidder.handle(
                            message, from: from, group: UInt64(from.endpoint.port), proven: true, turn: &turn,
                            out: &worker)
                    }
                    guard let answer, !self.random.chance(self.faults.loss, in: 1_000) else { return }
                    self.at(self.latency(), node: node) { complete(answer) }
                }
            }
        }
        at(.milliseconds(700), node: node) { complete(nil) }
    }

    private func dial(_ task: TaskID, _ attempt: UInt32, _ node: Int, _ target: Int, byBuyer: Bool) {
        let epoch = nodes[target].epoch
        let key = nodes[target].seller.key
        let settle = { (channel: ChannelID?) in
            self.enter(node) { node, turn, buyer, worker in
                switch (byBuyer, channel) {
                case (true, let channel?):
                    node.auctioneer.channelOpened(
                        task, attempt: attempt, channel: channel, peer: key, turn: &turn, out: &buyer)
                case (true, nil):
                    node.auctioneer.channelFailed(
                        task, attempt: attempt, peer: key, turn: &turn, out: &buyer)
                case (false, let channel?):
                    node.bidder.channelOpened(
                        task, attempt: attempt, channel: channel, peer: key, turn: &turn,
                        out: &worker)
                case (false, nil):
                    node.bidder.channelFailed(task, attempt: attempt, peer: key, turn: &turn, out: &worker)
                }
            }
        }
        if let channel = pool[[node, target]]?.popLast() {
            if channels[channel]?.isOpen == true { return at(.zero, node: node) { settle(channel) } }
        }
        at(latency() + latency(), node: node) {
            guard self.nodes[target].isAlive, self.nodes[target].epoch == epoch else { return settle(nil) }
            guard self.nodes[target].frozenUntil == nil else {
                return self.at(.seconds(5), node: node) { settle(nil) }
            }
            self.nextChannel += 1
            let channel = ChannelID(rawValue: self.nextChannel)
            self.channels[channel] = Channel(ends: (node, target))
            settle(channel)
        }
    }

    private func send(_ frame: Frame, on channel: ChannelID, from node: Int) {
        toOtherEnd(channel, from: node) { other in
            guard self.channels[channel]?.isOpen == true else { return }
            let key = self.nodes[node].seller.key
            self.enter(other) { other, turn, buyer, worker in
                switch frame.body {
                case .open, .bodyPart, .cancel, .window, .receipt:
                    other.bidder.received(
                        frame, from: key, channel: channel, turn: &turn, out: &worker)
                case .delta, .progress, .finish, .fail, .hello:
                    other.auctioneer.received(
                        frame, from: key, channel: channel, turn: &turn, out: &buyer)
                }
            }
        }
    }

    /// In order, each after its own latency.
    private func toOtherEnd(_ id: ChannelID, from node: Int, _ run: @escaping (Int) -> Void) {
        guard var channel = channels[id], channel.isOpen else { return }
        let forward = channel.ends.0 == node
        let other = forward ? channel.ends.1 : channel.ends.0
        let arrival = max(time + latency(), forward ? channel.arrival.0 : channel.arrival.1)
        if forward { channel.arrival.0 = arrival } else { channel.arrival.1 = arrival }
        channels[id] = channel
        at(arrival - time, node: other) { run(other) }
    }

    private func release(_ id: ChannelID, _ node: Int) {
        guard let channel = channels[id], channel.isOpen, channel.ends.0 == node else { return }
        pool[[node, channel.ends.1], default: []].append(id)
    }

    private func end(_ id: ChannelID, by node: Int) {
        toOtherEnd(id, from: node) { other in
            self.channels[id]?.isOpen = false
            self.enter(other) { other, turn, buyer, worker in
                other.auctioneer.channelClosed(id, turn: &turn, out: &buyer)
                other.bidder.channelClosed(id, turn: &turn, out: &worker)
            }
        }
    }

    // MARK: - Backends

    private func start(_ job: Job, _ node: Int) {
        let key = [UInt64(node), job.id.rawValue]
        let total = Int(String(decoding: job.body, as: UTF8.self)) ?? 0
        let first = job.delivered.count / Self.tokenBytes
        if job.delivered != (0..<first).flatMap({ Self.token($0) }) {
            Issue.record("delivered text is not a prefix")
        }
        let backend = Backend(next: first)
        backends[key] = backend
        let last = min(total, job.maxTokens.map { first + Int($0) } ?? total)
        let hangs = random.chance(faults.backendHangs, in: 1_000) ? first + random.below(20) : Int.max
        let fails = random.chance(faults.backendFails, in: 1_000) ? first + random.below(20) : Int.max
        let speed = Int64(nodes[node].seller.offer.speed.millitokensPerSecond)
        let gap = Interval(nanoseconds: 1_000_000_000_000 / speed)
        func step() {
            guard !backend.isStopped, backend.next < hangs else { return }
            if backend.isPaused { return at(gap, node: node) { step() } }
            let event: JobEvent
            if backend.next >= fails {
                event = .failed(
                    Fail(.backendError, "out of memory", anotherMaySucceed: true))
            } else if backend.next >= last {
                let made = UInt32(last - first)
                event = .finished(
                    Finish(
                        reason: last < total ? "length" : "stop", promptTokens: 8 + UInt32(first),
                        completionTokens: made))
            } else {
                event = .produced(text: Self.token(backend.next), tokens: 1, extra: [])
            }
            backend.next += 1
            let isLast = if case .produced = event { false } else { true }
            if isLast { backends[key] = nil }
            enter(node) { node, turn, _, worker in
                node.bidder.jobEvent(job.id, event, turn: &turn, out: &worker)
            }
            if !isLast { at(gap, node: node) { step() } }
        }
        at(.milliseconds(Int64(nodes[node].seller.offer.speed.firstTokenMilliseconds)), node: node) { step() }
    }
}
