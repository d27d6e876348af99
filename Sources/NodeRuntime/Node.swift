// `Node` is the shell around one `Peer`: it owns the sockets, the model servers and the database, executes
// the core's effects, and decides nothing about the protocol.
//
// Everything runs on one libuv thread. A libuv callback enters the actor once, by `assumeIsolated`; other
// threads call it as an actor. After each entry `flush` drains the core: effects first (they may enter the
// core again), then all datagrams in one call, then the timer.

import Credit
import Cryptography
import Discovery
import Glibc
import Inference
import Logging
import Market
import MeshDocuments
import NodeConfiguration
import PeerCore
import Primitives
import Sessions
import Store
import UVLoop
import Wire

/// A running node. `start` it, then `leave` and `stop`.
public actor Node {
    public nonisolated let loop: EventLoop
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    public nonisolated let identity: Identity
    nonisolated let settings: NodeSettings
    /// As its file was read last.
    var current: NodeSettings
    /// With this node's own name.
    nonisolated let names: NodeNames
    nonisolated let version: String
    let log: Logger
    let ledger: Ledger

    /// Each event enters it by mutating calls, which work in place. A call that doesn't mutate copies all of it first:
    /// only for what people look at.
    var peer: Peer
    private var effects: [Effect] = []
    private var isFlushing = false
    private var udp: UDPSocket?
    /// A second socket, from whose port this node calls others back for their reachability tests. Opened for
    /// the first such call.
    private var apart: UDPSocket?
    var listener: TCPListener?
    var listenTimer: UVLoop.Timer?
    private var timer: UVLoop.Timer?
    private var deferredSince: MonotonicTime?
    /// Datagrams that the mesh socket had dropped, and how long the machine had slept, at the last look.
    private var overflowed = 0
    private var asleep = SystemClock.asleep
    var connections: [ChannelID: Connection] = [:]
    /// Sockets of ended channels that still send what was queued, or wait for the peer's end.
    var closing = 0
    var streams: [TaskID: ClientStream] = [:]
    /// Streams that have got events in this turn.
    var told: [TaskStream] = []
    var backends: [ServedBackend] = []
    var http: HTTPStreams?
    var jobs: [JobID: Int] = [:]
    var isPaused = false
    var isLeaving = false
    var balances: Balances
    var budgets: Budgets
    var settling: Settling
    var unsaved = UnsavedReceipts()
    var receiptTimer: UVLoop.Timer?
    var pendingSellers: [PublicKey: SellerRecord] = [:]
    var pendingBuyers: [BuyerRecord.Party: BuyerRecord] = [:]
    /// Model servers whose speed has changed.
    var pendingSpeeds: Set<Int> = []
    var judgementTimer: UVLoop.Timer?
    var anchorTimer: UVLoop.Timer?
    var sales = SalesJournal()
    var soldDocument: (document: SalesDocument, at: MonotonicTime)?
    var refusalLines = TokenBucket(rate: 20, burst: 100)
    var refusalsUnlogged = 0
    /// Own tasks that ended, whose transcripts are to be stored.
    var endedTasks: [TaskID] = []
    var salesTimer: UVLoop.Timer?
    var quietTimer: UVLoop.Timer?
    /// Why a node of `mesh.join` isn't reached.
    var joinProblems: [PeerURL: String] = [:]
    /// Nodes of `mesh.join` that have been reached: nothing is wrong with how they are named.
    var joinsReachedOnce: Set<PeerURL> = []
    var joinTimer: UVLoop.Timer?
    /// Another process with this node's key, at an address of `mesh.join`.
    var ownKeySeen: OwnKeyUse?
    /// As last stored.
    var anchors: [SignedRecord] = []
    /// Why nothing is stored, and the fix.
    var databaseProblem: String?
    var isFileMissing = false
    let startedAt = SystemClock.monotonic
    private var leftWaiter: CheckedContinuation<Void, Never>?
    private var hasLeft = false
    private var isGraceOver = false

    /// A channel's socket, and the written bytes not yet reported to the core.
    struct Connection {
        var socket: TCPConnection
        var unreported = 0
    }

    struct ClientStream {
        var stream: TaskStream
        /// Bytes that arrived while the client's pipe was full; the window is extended by them when it
        /// drains.
        var withheld = 0
    }

    /// State of an earlier process, read before the start.
    public struct Memory: Sendable {
        public var anchors: [SignedRecord] = []
        public var sequences: [(model: String, sequence: UInt64)] = []
        public var speeds: [String: SpeedRecord] = [:]
        /// The one judged longest ago first.
        public var sellers: [SellerRecord] = []
        /// The oldest first.
        public var buyers: [BuyerRecord] = []
        /// The oldest first.
        public var sold: [SoldTask] = []
        public var usage = Usage()
        /// What the settlement command was asked to pay.
        var settled: [PublicKey: Settling.Orders] = [:]
        /// Nil: no receipts were kept.
        public var balances: Balances?
        public init() {}
    }

    public init(
        settings: NodeSettings, identity: Identity, ledger: Ledger, memory: Memory, version: String,
        log: Logger
    ) throws {
        self.settings = settings
        current = settings
        var names = settings.names
        names.add(settings.name, identity.publicKey)
        self.names = names
        self.identity = identity
        self.ledger = ledger
        self.version = version
        self.log = log
        balances = memory.balances ?? Balances(of: identity.publicKey)
        settling = Settling(orders: memory.settled)
        budgets = Budgets(settings.ask, kept: memory.usage, at: SystemClock.wall)
        loop = try EventLoop(name: "starling")
        peer = Peer(
            identity: identity,
            settings: settings.peerSettings(memory: memory, descriptors: FileDescriptors.raiseLimit()),
            entropy: SecureRandom.bytes32(),
            seed: SecureRandom.bytes32(), now: SystemClock.now())
        backends = settings.serve.enumerated().map { ServedBackend(settings: $1, id: $0, memory: memory) }
        loop.start()
    }

    // MARK: Life

    /// Opens the sockets and starts the model servers. Throws `SocketError` when a port is taken.
    public func start() throws {
        try openSockets()
        timer = try UVLoop.Timer(on: loop) { [weak self] in self?.assumeIsolated { $0.timerFired() } }
        receiptTimer = try UVLoop.Timer(on: loop) { [weak self] in self?.assumeIsolated { $0.saveReceipts() }
        }
        judgementTimer = try UVLoop.Timer(on: loop) { [weak self] in
            self?.assumeIsolated { $0.saveJudgements() }
        }
        anchorTimer = try UVLoop.Timer(on: loop) { [weak self] in self?.assumeIsolated { $0.saveAnchors() } }
        salesTimer = try UVLoop.Timer(on: loop) { [weak self] in self?.assumeIsolated { $0.saveSales() } }
        quietTimer = try UVLoop.Timer(on: loop) { [weak self] in
            self?.assumeIsolated {
                $0.updateServed()
                $0.flush()
            }
        }
        joinTimer = try UVLoop.Timer(on: loop) { [weak self] in self?.assumeIsolated { $0.lookAtJoins() } }
        if !settings.mesh.join.isEmpty { joinTimer?.arm(after: Self.joinLooks.first) }
        startBackends()
        flush()
    }

    /// One port serves datagrams and channels. If the system chooses a port that is free for only one of
    /// them, try again with another.
    private func openSockets() throws(SocketError) {
        var attemptsLeft = settings.mesh.listen.port == 0 ? 16 : 1
        while true {
            attemptsLeft -= 1
            let udp = try UDPSocket(on: loop, bind: settings.mesh.listen)
            do {
                if settings.mesh.inbound { try listen(at: udp.endpoint.port) }
            } catch {
                udp.close()
                guard attemptsLeft > 0, error.code == EADDRINUSE else { throw error }
                continue
            }
            // Weak, so that the loop's handles don't keep alive a node that has no other owner.
            udp.onDatagram = { [weak self] bytes, source in
                nonisolated(unsafe) let bytes = bytes
                self?.assumeIsolated { $0.peer.receive(bytes, from: source, now: SystemClock.now()) }
            }
            udp.onBatchEnd = { [weak self] in self?.assumeIsolated { $0.flush() } }
            self.udp = udp
            return
        }
    }

    /// The endpoint to which the mesh socket is bound.
    public var meshEndpoint: Endpoint { udp?.endpoint ?? settings.mesh.listen }

    /// Leaves the mesh: takes no new work and no new tasks, and tells its peers. What runs may finish within `grace`, then
    /// jobs are handed over. Returns when that is done; call `stop` afterwards.
    public func leave(grace: Interval) async {
        guard !isLeaving else { return }
        isLeaving = true
        updateServed()
        peer.leave(now: SystemClock.now())
        flush()
        if !hasLeft || !streams.isEmpty {
            let handOver = try? UVLoop.Timer(on: loop) { [weak self] in
                self?.assumeIsolated {
                    $0.isGraceOver = true
                    $0.peer.handOver(now: SystemClock.now())
                    $0.flush()
                    $0.checkLeft()
                }
            }
            handOver?.arm(after: grace)
            await withCheckedContinuation { leftWaiter = $0 }
            handOver?.close()
        }
    }

    /// Closes everything at once and saves what must outlive the process.
    public func stop() async {
        for backend in backends { backend.driver?.close() }
        http?.close()
        listener?.close()
        listenTimer?.close()
        for connection in connections.values { connection.socket.close() }
        await saveEverything()
        udp?.close()
        apart?.close()
        timer?.close()
        receiptTimer?.close()
        judgementTimer?.close()
        anchorTimer?.close()
        salesTimer?.close()
        quietTimer?.close()
        joinTimer?.close()
        let loop = loop
        // On another thread, because the loop can't join itself.
        await Task.detached { loop.stop() }.value
    }

    // MARK: The turn

    /// Drains the core: effects until there are none, then datagrams, then the timer.
    func flush() {
        guard !isFlushing else { return }
        isFlushing = true
        while true {
            var batch: [Effect] = []
            swap(&batch, &effects)
            let isDone = !peer.takeEffects(into: &batch)
            if !isDone { for effect in batch { perform(effect) } }
            batch.recycle()
            swap(&batch, &effects)
            if isDone { break }
        }
        isFlushing = false
        for stream in told { stream.handOver() }
        told.removeAll(keepingCapacity: true)
        if let udp {
            peer.takeDatagrams { datagrams in
                let entries = datagrams.entries
                datagrams.bytes.withUnsafeBytes { bytes in
                    udp.send(bytes, count: entries.count) { index in
                        let entry = entries[index]
                        return DatagramSlot(
                            offset: entry.range.lowerBound, length: entry.range.count,
                            endpoint: entry.endpoint)
                    }
                }
            }
            if udp.counters.overflowed != overflowed {
                overflowed = udp.counters.overflowed
                peer.wasDisturbed(now: SystemClock.now())
            }
        }
        if deferredSince == nil { timer?.arm(at: peer.nextDeadline()) }
    }

    /// After a stall of this process (stopped, or the machine slept) sockets are read before timers fire:
    /// otherwise every peer would seem to have been silent.
    private func timerFired() {
        let now = SystemClock.now()
        if let since = deferredSince {
            deferredSince = nil
            peer.wasStalled(for: now.monotonic - since, now: now)
        } else if let since = stalledSince(now.monotonic) {
            deferredSince = since
            timer?.arm(after: .milliseconds(20))
            return
        } else if let deadline = timer?.deadline, deadline != .never, now.monotonic - deadline > Self.lateMin
        {
            peer.wasDisturbed(now: now)
        }
        peer.tick(now: SystemClock.now())
        flush()
    }

    /// Since when the process stood still; nil: it didn't. The monotonic clock doesn't count a machine's sleep.
    private func stalledSince(_ now: MonotonicTime) -> MonotonicTime? {
        let slept = SystemClock.asleep - asleep
        asleep = SystemClock.asleep
        if slept > Self.stallMin { return now }
        guard let deadline = timer?.deadline, deadline != .never, now - deadline > Self.stallMin else {
            return nil
        }
        return deadline
    }

    /// A timer that fires this much later than due shows that the process stood still.
    private static let stallMin = Interval.milliseconds(500)
    /// From here on the node is too busy to judge others by their silence: answers may wait in its sockets for
    /// as long as the shortest timeout of a session.
    private static let lateMin = Interval.milliseconds(100)

    private func perform(_ effect: Effect) {
        let now = SystemClock.now()
        switch effect {
        case .sendApart(let datagram, let endpoint): sendApart(datagram, to: endpoint)
        case .dial(let id, let endpoint): dial(id, endpoint, now)
        case .write(let id, let bytes): write(id, bytes)
        case .closeChannel(let id): close(id)
        case .startJob(let job): startJob(job, now)
        case .cancelJob(let id):
            backend(of: id, ended: true)?.cancel(id)
            jobEnded(id, usage: nil, "cancelled")
        case .pauseJob(let id): backend(of: id)?.pause(id)
        case .resumeJob(let id): backend(of: id)?.resume(id)
        case .client(let task, let event): deliver(task, event, now)
        case .keep(let receipt): keep(receipt)
        case .keepSequence(let model, let sequence): keepSequence(model, sequence)
        case .keepSeller(let record): keep(record)
        case .keepBuyer(let record): keep(record)
        case .log(let notice): note(notice)
        case .left:
            hasLeft = true
            checkLeft()
        }
    }

    /// Resumes `leave` when everything has ended that it waits for.
    func checkLeft() {
        guard hasLeft, streams.isEmpty || isGraceOver else { return }
        leftWaiter?.resume()
        leftWaiter = nil
    }

    private func sendApart(_ datagram: [UInt8], to endpoint: Endpoint) {
        if apart == nil {
            var own = settings.mesh.listen
            own.port = 0
            apart = try? UDPSocket(on: loop, bind: own)
        }
        apart?.send(datagram, to: endpoint)
    }

    // MARK: Log

    private func note(_ notice: Notice) {
        switch notice {
        case .joined(let contacts):
            log.notice("joined", metadata: ["contacts": .stringConvertible(contacts)])
            anchorTimer?.arm(after: Self.anchorsEvery.first)
        case .alone(let tried):
            log.warning(
                "\(Self.aloneHint)",
                metadata: ["tried": "\(tried.map(\.description).joined(separator: ", "))"])
        case .admitted(let key, let endpoint):
            log.debug("peer", metadata: ["node": "\(NodeID(of: key).short)", "at": "\(endpoint)"])
        case .evicted(let key):
            log.info("peer gone", metadata: ["node": "\(NodeID(of: key).short)"])
            joinLeft(key)
        case .ownKeyUsed: log.error("\(ownKeyProblem ?? "")")
        case .declined(let buyer, let model, let reason): refused(buyer, model, reason)
        case .observed(let endpoint): log.info("others see us", metadata: ["at": "\(endpoint)"])
        case .reachability(let finding, let stated):
            let details: Logger.Metadata = [
                "at": "\(finding.endpoint)", "datagrams": "\(finding.datagrams.rawValue)",
                "channels": "\(finding.channels.rawValue)", "networks": .stringConvertible(finding.networks),
                "stated": "\(stated.name)",
            ]
            if let fix = fix(of: finding) {
                log.warning("\(fix)", metadata: details)
            } else {
                log.notice("tested whether strangers reach us", metadata: details)
            }
        case .otherVersion(let key, let endpoint, let speaks, let ours):
            let theirs = speaks.map(String.init).joined(separator: ", ")
            let own = ours.map(String.init).joined(separator: ", ")
            let isOlder = (speaks.last ?? 0) < (ours.first ?? 0)
            log.warning(
                "a node speaks wire version \(theirs), we speak \(own): update \(isOlder ? "that node" : "this one")",
                metadata: ["node": "\(NodeID(of: key).short)", "at": "\(endpoint)"])
        case .offer(let key, let model):
            log.debug("offer", metadata: ["node": "\(NodeID(of: key).short)", "model": "\(model)"])
        case .offerGone(let key, let model, let expired):
            log.info(
                expired ? "offer ran out" : "offer withdrawn",
                metadata: ["node": "\(NodeID(of: key).short)", "model": "\(model)"])
        }
    }
}
