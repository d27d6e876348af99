// Carries the messages of many markets. Each node's `Auctioneer` and `Bidder` are the real ones; their
// messages pass as values with the links' latency and loss, without sessions and encoding. It does what
// `Peer` and the shell around it do: pairs requests with answers, keeps idle channels, and runs scripted
// backends and clients.
//
// Messages and jobs are in the extensions.

import Cryptography
import Market
import Primitives
import Wire

final class MarketCarrier {
    enum Event: BitwiseCopyable {
        case submit(task: Int32)
        case letter(slot: Int32)
        case wake(node: Int32)
        case step(node: Int32, job: UInt64, ticket: UInt32)
    }

    /// Something in transit between two nodes.
    enum Letter {
        case request(MarketMessage, RequestToken, from: Int32, to: Int32, sentAt: Int64)
        case answer(MarketMessage, RequestToken, from: Int32, to: Int32, sentAt: Int64)
        case noAnswer(RequestToken, to: Int32)
        case notice(MarketMessage, from: Int32, to: Int32)
        case opened(MarketDial, channel: Int32)
        case frame(Frame, channel: Int32, to: Int32)
        case closed(channel: Int32, to: Int32)
    }

    struct Channel {
        var dialler: Int32
        var acceptor: Int32
        var isOpen = true
        /// When the last frame arrives, by direction: frames don't overtake each other.
        var arrivals: (toAcceptor: Int64, toDialler: Int64) = (0, 0)

        func other(than node: Int32) -> Int32 { node == dialler ? acceptor : dialler }
    }

    let plan: MarketStudy.Plan
    let planned: [PlannedTask]
    var nodes: [MarketNode] = []
    var channels: [Channel] = []
    var links: LinkModel
    var clock: Int64 = 0
    var queue = TimedQueue<Event>()
    var run: MarketStudy.Run
    var lastTicket: UInt32 = 0
    private var letters: [Letter?] = []
    private var freeSlots: [Int32] = []

    init(_ plan: MarketStudy.Plan) {
        self.plan = plan
        planned = plan.tasks
        links = plan.links
        run = MarketStudy.Run("auction", plan)
        run.tasks = Array(repeating: MarketStudy.TaskRecord(), count: planned.count)
        for index in 0..<plan.sellers.count + plan.askers {
            let number = UInt64(index)
            let identity = Identity(
                seed: Blake2b.hash(
                    domain: "starling simulation market key", Bytes32(plan.seed, number, 0, 0).bytes))
            nodes.append(
                MarketNode(
                    index: Int32(index), identity: identity, parameters: plan.parameters,
                    random: plan.generator(1_000 + number)))
        }
        introduce()
        for (index, task) in planned.enumerated() {
            if let at = task.at { queue.push(.submit(task: Int32(index)), at: at) }
        }
    }

    /// Gives every asker the offers that it knows, with sessions to their sellers.
    private func introduce() {
        let candidates = plan.sellers.enumerated().map { place, plan in
            Candidate(offer: nodes[place].serve(plan), address: nodes[place].address, hasSession: true)
        }
        if plan.isAcquainted {
            let (sellers, askers) = (nodes[..<plan.sellers.count], nodes[plan.sellers.count...])
            for asker in askers { asker.haveBought(from: sellers) }
            for seller in sellers { seller.haveSold(to: askers) }
        }
        var random = plan.generator(3)
        for asker in nodes[plan.sellers.count...] {
            asker.candidates = plan.offersKnown.map { random.sample($0, of: candidates) } ?? candidates
        }
    }

    func serve() -> MarketStudy.Run {
        while let entry = queue.pop() {
            clock = entry.time
            run.events += 1
            switch entry.event {
            case .submit(let task): submit(task)
            case .letter(let slot):
                guard let letter = letters[Int(slot)] else { continue }
                letters[Int(slot)] = nil
                freeSlots.append(slot)
                arrive(letter)
            case .wake(let node): wake(nodes[Int(node)])
            case .step(let node, let job, let ticket):
                step(nodes[Int(node)], JobID(rawValue: job), ticket)
            }
        }
        run.virtualTime = Interval(nanoseconds: clock)
        run.balances = nodes.map(\.balance.net)
        run.leaks = nodes.compactMap(\.leak)
        let sum = run.balances.reduce(.zero, +)
        if sum != .zero { run.leaks.append("balances sum to \(sum) micro-credits") }
        let endless = run.tasks.count { $0.end == nil }
        if endless > 0 { run.leaks.append("\(endless) tasks have no end") }
        return run
    }

    func post(_ letter: Letter, at time: Int64) {
        let slot: Int32
        if let free = freeSlots.popLast() {
            slot = free
            letters[Int(slot)] = letter
        } else {
            slot = Int32(letters.count)
            letters.append(letter)
        }
        queue.push(.letter(slot: slot), at: time)
    }

    // MARK: Steps of a node

    func begin(_ index: Int32) -> MarketNode {
        let node = nodes[Int(index)]
        node.begin(at: clock)
        return node
    }

    private func wake(_ node: MarketNode) {
        guard node.armedAt == clock else { return }
        node.armedAt = .max
        node.begin(at: clock)
        if node.nextDeadline <= clock {
            run.digest.mix(2, Int(node.index), 0)
            run.digest.mix(UInt64(bitPattern: clock))
            node.tick()
        }
        settle(node)
    }

    /// Carries out the actions of the node's machines until there are none left, then sets its timer.
    func settle(_ node: MarketNode) {
        var buyer: [AuctioneerAction] = []
        var seller: [BidderAction] = []
        while node.takeActions(&buyer, &seller) {
            for action in buyer { perform(action, node) }
            for action in seller { perform(action, node) }
            buyer.removeAll(keepingCapacity: true)
            seller.removeAll(keepingCapacity: true)
        }
        let deadline = node.nextDeadline
        guard deadline < .max, max(deadline, clock) < node.armedAt else { return }
        node.armedAt = max(deadline, clock)
        queue.push(.wake(node: node.index), at: node.armedAt)
    }
}
