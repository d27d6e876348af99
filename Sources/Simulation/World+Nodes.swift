// The shell of one node: what `NodeRuntime.Node` does on libuv, done on virtual time. It interprets effects and decides
// nothing.

import Cryptography
import Market
import PeerCore
import Primitives
@_spi(Simulation) import Sessions
import Wire

extension World {
    // MARK: Life

    func start(_ host: Host) {
        guard host.process == nil, host.state != .hostile else { return }
        host.incarnation += 1
        host.state = .running
        let seed = scenario.seed
        func secret(_ purpose: StaticString) -> Bytes32 {
            Blake2b.hash(
                domain: purpose, host.identity.publicKey.value.bytes,
                Bytes32(seed, UInt64(host.index), UInt64(host.incarnation), 0).bytes)
        }
        let isTold = host.plan.nat == .none && !host.plan.learnsAddress
        var settings = PeerSettings(
            mesh: MeshIdentity(name: Self.meshName), name: host.plan.name,
            endpoints: isTold ? [host.endpoint] : [],
            reachability: !host.plan.acceptsInbound ? .outbound : isTold ? .direct : .unknown,
            profile: .internet,
            bootstrap: host.plan.bootstrap.filter { $0 != host.index }.map {
                PeerAddress(key: hosts[$0].identity.publicKey, endpoint: hosts[$0].endpoint)
            }, anchors: host.anchors)
        settings.offerSequences = host.sequences
        settings.models = host.plan.serves.map(\.model)
        if let offersMax = scenario.offersMax { settings.gossip.offersMax = offersMax }
        if scenario.carrier == .plain {
            settings.sessions.carriesPlain = true
            settings.gossip.memo = memo
            settings.discovery.memo = memo
        }
        let process = NodeProcess(
            incarnation: host.incarnation, startedAt: clock,
            peer: Peer(
                identity: host.identity, settings: settings, entropy: secret("starling simulation entropy"),
                seed: secret("starling simulation seed"), now: now(host)))
        host.process = process
        host.backend.jobs = [:]
        digest.mix(1, host.index, host.incarnation)
        note("\(host.plan.name) starts")
        if !host.plan.serves.isEmpty {
            updateServed(host, process)
            if host.incarnation > 1 {
                watch.returns.append(
                    Watch.Return(host: Int32(host.index), incarnation: host.incarnation, at: clock))
            }
        }
        flush(host, process)
    }

    /// Tells the core what can be served now.
    func updateServed(_ host: Host, _ process: NodeProcess) {
        let models = host.plan.serves.map { plan in
            let availability: ServedModel.Availability =
                process.isLeaving ? .leaving : host.backend.isDown ? .down("the backend is gone") : .up
            return ServedModel(plan, availability)
        }
        process.peer.serve(models, now: now(host))
    }

    /// Ends the process; `isReset`: its machine lives and says so to those connected.
    func end(_ host: Host, _ state: Host.State, isReset: Bool) {
        guard let process = host.process else { return }
        host.anchors = process.peer.anchors
        host.droppedBefore = merged(host.droppedBefore, process.peer.dropped)
        for event in process.inbox { discard(event) }
        for (channel, stream) in process.channels.sorted(by: { $0.key < $1.key }) {
            closeStream(stream, channel, isReset: isReset)
        }
        for job in host.backend.jobs.keys.sorted() { dropJob(host, job) }
        for (_, client) in process.tasks.sorted(by: { $0.key < $1.key }) { askerLost(client) }
        voidProbes(process)
        host.process = nil
        host.state = state
    }

    func leave(_ host: Host) {
        guard host.state == .running, let process = host.process, !process.isLeaving else { return }
        process.isLeaving = true
        if !host.plan.serves.isEmpty {
            updateServed(host, process)
            watch.leaves.append(Watch.Leave(host: Int32(host.index), at: clock))
        }
        process.peer.leave(now: now(host))
        queue.push(
            .handOver(host: Int32(host.index), incarnation: Int32(process.incarnation)),
            at: clock + Self.leaveGrace)
        flush(host, process)
    }

    /// What running answers get before they are handed over.
    static let leaveGrace: Int64 = 5_000_000_000

    func handOver(_ host: Host, _ incarnation: Int32) {
        guard let process = host.process, process.incarnation == incarnation, host.state == .running else {
            return
        }
        process.peer.handOver(now: now(host))
        flush(host, process)
    }

    // MARK: The turn

    /// Drains the core: effects until there are none, then datagrams, then the timer.
    func flush(_ host: Host, _ process: NodeProcess) {
        guard !process.isFlushing else { return }
        process.isFlushing = true
        while true {
            var batch: [Effect] = []
            swap(&batch, &process.effects)
            guard process.peer.takeEffects(into: &batch) else {
                swap(&batch, &process.effects)
                break
            }
            for effect in batch {
                perform(effect, host, process)
                guard host.process === process else { return }
            }
            batch.recycle()
            swap(&batch, &process.effects)
        }
        process.isFlushing = false
        if !process.probes.isEmpty { takeFindings(host, process) }
        sendDatagrams(host, process)
        if process.stoodStillSince == nil { arm(host, process) }
    }

    private func arm(_ host: Host, _ process: NodeProcess) {
        let deadline = process.peer.nextDeadline()
        let at = deadline == .never ? .max : max(deadline.nanoseconds - host.monotonicOffset, clock)
        process.dueAt = at
        guard at < process.armedAt else { return }
        process.armedAt = at
        queue.push(.wake(host: Int32(host.index)), at: at)
    }

    /// Consecutive ticks of one moment that mean that a machine's deadline doesn't move.
    private static let idleTicksMax = 100

    func wake(_ host: Host) {
        guard host.state == .running, let process = host.process, process.armedAt == clock,
            process.stoodStillSince == nil
        else { return }
        process.armedAt = .max
        guard process.dueAt <= clock else {
            // What it was set for came off, as most timeouts do.
            guard process.dueAt < .max else { return }
            process.armedAt = process.dueAt
            return queue.push(.wake(host: Int32(host.index)), at: process.armedAt)
        }
        let now = now(host)
        guard process.peer.nextDeadline() <= now.monotonic else { return arm(host, process) }
        digest.mix(2, host.index, 0)
        digest.mix(UInt64(bitPattern: clock))
        process.peer.tick(now: now)
        if process.peer.nextDeadline() <= now.monotonic {
            process.idleTicks += 1
            if process.idleTicks > Self.idleTicksMax {
                process.idleTicks = 0
                violate(.timersMove, host: host, "a deadline stays in the past")
                process.armedAt = clock + 1_000_000_000
                queue.push(.wake(host: Int32(host.index)), at: process.armedAt)
            }
        } else {
            process.idleTicks = 0
        }
        flush(host, process)
    }

    private func perform(_ effect: Effect, _ host: Host, _ process: NodeProcess) {
        switch effect {
        case .sendApart(let bytes, let endpoint):
            digest.mix(22, host.index, bytes.count)
            sendApart(bytes, to: endpoint, host)
        case .dial(let id, let endpoint):
            digest.mix(10, host.index, Int(truncatingIfNeeded: id.rawValue))
            dial(id, endpoint, host, process)
        case .write(let id, let bytes):
            digest.mix(11, host.index, Int(truncatingIfNeeded: id.rawValue))
            bytes.withUnsafeBytes { digest.mixEnds($0) }
            write(id, bytes, host, process)
        case .closeChannel(let id):
            digest.mix(12, host.index, Int(truncatingIfNeeded: id.rawValue))
            if let stream = process.channels[id] { closeStream(stream, id, isReset: true) }
        case .startJob(let job):
            digest.mix(13, host.index, Int(truncatingIfNeeded: job.id.rawValue))
            startJob(job, host, process)
        case .cancelJob(let id):
            digest.mix(14, host.index, Int(truncatingIfNeeded: id.rawValue))
            dropJob(host, id)
        case .pauseJob(let id):
            digest.mix(15, host.index, Int(truncatingIfNeeded: id.rawValue))
            pauseJob(host, id, true)
        case .resumeJob(let id):
            digest.mix(16, host.index, Int(truncatingIfNeeded: id.rawValue))
            pauseJob(host, id, false)
        case .client(let task, let event):
            deliver(task, event, host, process)
        case .keep(let receipt):
            digest.mix(18, host.index, Int(truncatingIfNeeded: receipt.record.cost.microCredits))
            counts.receipts += 1
            checkWork(receipt.record, host)
            host.balances.add(receipt.record)
        case .keepSeller, .keepBuyer: break
        case .keepSequence(let model, let sequence):
            digest.mix(19, host.index, Int(truncatingIfNeeded: sequence))
            host.sequences.removeAll { $0.model == model }
            host.sequences.append((model, sequence))
        case .log(let event):
            mix(event, host)
        case .left:
            digest.mix(21, host.index, 0)
            note("\(host.plan.name) has left")
            end(host, .left, isReset: true)
        }
    }

    private func mix(_ event: Notice, _ host: Host) {
        switch event {
        case .joined(let contacts): digest.mix(30, host.index, contacts)
        case .alone: digest.mix(31, host.index, 0)
        case .admitted(let key, _): digest.mix(32, host.index, Int(truncatingIfNeeded: key.value.w0))
        case .evicted(let key): digest.mix(33, host.index, Int(truncatingIfNeeded: key.value.w0))
        case .ownKeyUsed: digest.mix(40, host.index, 0)
        case .declined: break
        case .reachability(let finding, let stated):
            digest.mix(39, host.index, finding.networks << 8 | Int(stated.rawValue))
        case .observed(let endpoint): digest.mix(34, host.index, Int(truncatingIfNeeded: endpoint.low))
        case .offer(let key, _): digest.mix(35, host.index, Int(truncatingIfNeeded: key.value.w0))
        case .offerGone(let key, _, let expired):
            digest.mix(expired ? 36 : 37, host.index, Int(truncatingIfNeeded: key.value.w0))
        case .otherVersion(let key, _, _, _):
            digest.mix(38, host.index, Int(truncatingIfNeeded: key.value.w0))
        }
    }

    private func merged(
        _ a: [(name: String, count: UInt64)], _ b: [(name: String, count: UInt64)]
    ) -> [(name: String, count: UInt64)] {
        var sums = a
        for (name, count) in b where count > 0 {
            if let index = sums.firstIndex(where: { $0.name == name }) {
                sums[index].count += count
            } else {
                sums.append((name, count))
            }
        }
        return sums
    }

    /// Drop counters of all processes of a host, living and dead.
    func dropped(_ host: Host) -> [(name: String, count: UInt64)] {
        guard let process = host.process else { return host.droppedBefore }
        return merged(host.droppedBefore, process.peer.dropped)
    }
}

extension ServedModel {
    init(_ plan: ServePlan, _ availability: Availability) {
        self.init(
            model: plan.model, price: plan.price, slots: plan.slots,
            places: plan.places ?? ServedModel.places(slots: plan.slots), context: plan.context,
            features: [.chat, .completion], continues: plan.continues, digest: nil, quantization: "Q4_0",
            speed: Speed(
                firstTokenMilliseconds: UInt32(clamping: plan.firstToken.milliseconds),
                millitokensPerSecond: UInt32(clamping: plan.tokensPerSecond * 1_000)),
            available: availability)
    }
}
