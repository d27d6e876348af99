// The named checkers. Some look on at every event (`violate` from where it happens), some ten times a second, some at
// the end.

import Gossip
import Market
import PeerCore
import Primitives
import Wire

extension World {
    private static let violationsMax = 100

    func violate(_ invariant: Invariant, host: Host?, _ detail: String) {
        guard violations.count < Self.violationsMax else { return }
        let violation = Violation(invariant: invariant, at: now, node: host?.plan.name, detail: detail)
        violations.append(violation)
        note("VIOLATION \(violation)")
    }

    // MARK: Ten times a second

    func lookAround() {
        if watch.convergedAt == nil, clock >= watch.lastStart { lookForConvergence() }
        for index in watch.leaves.indices where watch.leaves[index].knownAfter == nil { lookForLeave(index) }
        for index in watch.returns.indices where watch.returns[index].knownAfter == nil {
            lookForReturn(index)
        }
    }

    private func lookForConvergence() {
        if watch.knowing.isEmpty { watch.knowing = Array(repeating: false, count: hosts.count) }
        let sellers = hosts.filter(\.isSelling)
        var all = true
        for host in hosts where host.isUp && !watch.knowing[host.index] {
            if missing(host, sellers) == 0 { watch.knowing[host.index] = true } else { all = false }
        }
        if all {
            watch.convergedAt = clock
            return
        }
        if let within = scenario.expect.offersWithin, clock > watch.lastStart + within.nanoseconds,
            !watch.lateConvergenceReported
        {
            watch.lateConvergenceReported = true
            let ignorant = hosts.filter { $0.isUp && !watch.knowing[$0.index] }
            let lacking = ignorant.map { missing($0, sellers) }.reduce(0, +)
            violate(
                .offersConverge, host: ignorant.first,
                "\(counted(ignorant.count, "node")) without \(counted(lacking, "offer"))")
        }
    }

    /// Sellers of which `host` lists not every model.
    private func missing(_ host: Host, _ sellers: [Host]) -> Int {
        guard let process = host.process else { return 0 }
        var held: [PublicKey: Int] = [:]
        for offer in process.peer.allOffers { held[offer.record.publicKey, default: 0] += 1 }
        return sellers.count { held[$0.identity.publicKey, default: 0] < $0.plan.serves.count }
    }

    private func lookForLeave(_ index: Int) {
        let leave = watch.leaves[index]
        let key = hosts[Int(leave.host)].identity.publicKey
        let isListed = hosts.contains { host in
            guard host.isUp, host.index != Int(leave.host), let process = host.process else { return false }
            return process.peer.allOffers.contains { $0.record.publicKey == key }
        }
        if !isListed {
            watch.leaves[index].knownAfter = clock - leave.at
        } else if let within = scenario.expect.leaveWithin, clock > leave.at + within.nanoseconds {
            watch.leaves[index].knownAfter = .max
            let knowing = hosts.filter { host in
                host.isUp && host.process?.peer.allOffers.contains { $0.record.publicKey == key } == true
            }
            violate(
                .leaveKnown, host: hosts[Int(leave.host)],
                "its offers are still listed by \(counted(knowing.count, "node"))")
        }
    }

    /// A node that has just started is still joining.
    private static let settledAfter: Int64 = 3_000_000_000

    private func lookForReturn(_ index: Int) {
        let back = watch.returns[index]
        let seller = hosts[Int(back.host)]
        guard seller.isSelling, seller.process?.incarnation == back.incarnation, !isPartitioned else {
            watch.returns[index].knownAfter = .max
            return
        }
        let key = seller.identity.publicKey
        let members = Set(seller.process?.peer.contacts.map(\.publicKey) ?? [])
        // Those that it mails must know the newest version. To others a killed seller's old one says the same.
        let ignorant = hosts.filter { host in
            guard host.isUp, host !== seller, let process = host.process,
                process.startedAt + Self.settledAfter <= back.at
            else { return false }
            let isMember = members.contains(host.identity.publicKey)
            return !seller.sequences.allSatisfy { model, newest in
                process.peer.offers(model: model).contains {
                    $0.record.publicKey == key && (!isMember || $0.record.sequence >= newest)
                }
            }
        }
        if ignorant.isEmpty {
            watch.returns[index].knownAfter = clock - back.at
        } else if let within = scenario.expect.returnWithin, clock > back.at + within.nanoseconds {
            watch.returns[index].knownAfter = .max
            violate(
                .returnKnown, host: ignorant.first,
                "\(ignorant.count) nodes lack the newest offers of \(seller.plan.name)")
        }
    }

    // MARK: At a receipt

    /// A worker keeps no receipt for more tokens than its backend produced, or at more than its price.
    func checkWork(_ receipt: Receipt, _ host: Host) {
        guard receipt.worker == host.identity.publicKey, receipt.buyer != receipt.worker else { return }
        let key = SimulatedBackend.WorkKey(
            buyer: receipt.buyer, task: receipt.task, attempt: receipt.attempt)
        let produced = UInt64(host.backend.produced[key] ?? 0)
        let dearest = host.plan.serves.map { plan in
            Scoring.cost(plan.price, prompt: receipt.promptTokens, cached: 0, completion: produced)
        }.max()
        if receipt.completionTokens > produced || produced == 0 || receipt.cost > dearest ?? .zero {
            violate(
                .paidForWork, host: host,
                "\(receipt.completionTokens) tokens and \(receipt.cost) µcr for \(produced) tokens")
        }
    }

    // MARK: At a task's end

    /// Calls of this task that a dead node left unanswered.
    func countSilentCalls(_ task: TaskID, _ host: Host) {
        guard scenario.expect.silentCallsMax != nil, let transcript = host.process?.peer.transcript(task)
        else { return }
        for bid in transcript.bids where bid.outcome == .silent || bid.outcome == .asked {
            guard let dead = hosts.first(where: { $0.identity.publicKey == bid.worker }), dead.process == nil
            else { continue }
            let asker = Int32(host.index)
            if let index = watch.silences.firstIndex(where: {
                $0.asker == asker && $0.dead == Int32(dead.index)
            }) {
                watch.silences[index].calls += 1
            } else {
                watch.silences.append(Watch.Silence(asker: asker, dead: Int32(dead.index), calls: 1))
            }
        }
    }

    // MARK: At the end

    /// Nothing unsettled that the checkers wait for.
    var isSettled: Bool {
        watch.convergedAt != nil && watch.leaves.allSatisfy { $0.knownAfter != nil }
            && watch.returns.allSatisfy { $0.knownAfter != nil }
            || clock > watch.lastStart + (scenario.expect.offersWithin ?? .zero).nanoseconds + 1_000_000_000
    }

    func finalChecks(calmFrom: Int64) {
        for client in clients where client.outcome == nil {
            let host = client.host >= 0 ? hosts[Int(client.host)] : nil
            violate(.oneEnd, host: host, "task \(client.task.map { "\($0)" } ?? "?") has no end")
        }
        for host in hosts where host.isUp { checkRest(host) }
        if !liars.isEmpty { checkContacts() }
        checkCalmOffers()
        checkRoom()
        checkBalances()
        checkBlame()
        checkExpectations()
    }

    private func checkRest(_ host: Host) {
        guard let process = host.process else { return }
        let rest = process.peer.outstanding
        if rest.tasks + rest.requests + rest.taskChannels + rest.holds + rest.jobs + rest.jobChannels > 0 {
            violate(.nothingLeaks, host: host, "\(rest)")
        }
        if process.peer.strayChannels > 0 {
            violate(
                .channelsOwned, host: host, "\(process.peer.strayChannels) channels are busy without a task")
        }
        for plan in host.plan.serves where process.peer.slotsTaken(plan.model) > 0 {
            violate(
                .nothingLeaks, host: host,
                "\(process.peer.slotsTaken(plan.model)) slots of \(plan.model) are taken")
        }
        if !host.backend.jobs.isEmpty {
            violate(.nothingLeaks, host: host, "\(host.backend.jobs.count) jobs in the backend")
        }
        for (name, count, bound) in process.peer.tables where count > bound {
            violate(.tablesBounded, host: host, "\(name): \(count), at most \(bound)")
        }
    }

    private func checkContacts() {
        var owners: [PublicKey: Int] = [:]
        for host in hosts where host.impostor == nil { owners[host.identity.publicKey] = host.index }
        for host in hosts where host.isUp {
            for contact in host.process?.peer.contacts ?? [] {
                guard let owner = owners[contact.publicKey], self.host(at: contact.address)?.index != owner
                else { continue }
                violate(.contactsGenuine, host: host, "\(hosts[owner].plan.name) at \(contact.address)")
            }
        }
    }

    /// In the calm everybody who is there knows everybody who sells.
    private func checkCalmOffers() {
        guard scenario.expect.offersWithin != nil, !isPartitioned else { return }
        let sellers = hosts.filter(\.isSelling)
        for host in hosts where host.isUp {
            let lacking = missing(host, sellers)
            if lacking > 0 {
                violate(.offersConverge, host: host, "lacks the offers of \(lacking) sellers in the calm")
            }
        }
    }

    /// Nothing is planned that could keep an answer from anybody.
    private var isFaultless: Bool {
        let network = scenario.network
        return scenario.events.isEmpty && network.loss == .never && network.duplication == .never
            && scenario.nodes.allSatisfy { plan in
                plan.nat == .none && plan.serves.allSatisfy { $0.failure == nil }
            }
    }

    private func checkRoom() {
        let sellers = hosts.filter(\.isSelling)
        let honest = sellers.reduce(0) { $0 + $1.plan.serves.count }
        for host in hosts where host.isUp {
            guard let process = host.process, process.peer.isOfferBookFull,
                honest <= (scenario.offersMax ?? GossipLimits.offersMax) / 2
            else { continue }
            let lacking = missing(host, sellers)
            if lacking > 0 {
                violate(
                    .roomKept, host: host, "its full offer book lacks \(counted(lacking, "honest seller"))")
            }
        }
    }

    private func checkBlame() {
        guard isFaultless else { return }
        let sellers = hosts.filter(\.isSelling).map(\.identity.publicKey)
        for host in hosts where host.isUp {
            for seller in sellers where host.process?.peer.experience(of: seller)?.isSilent == true {
                violate(.blameless, host: host, "takes \(NodeID(of: seller).short) for silent")
            }
        }
        for client in clients {
            guard case .refused(let code)? = client.outcome, code == Reason.unreachable.code else { continue }
            violate(.blameless, host: hosts[Int(client.host)], "a task finds no seller that answers")
        }
    }

    private func checkExpectations() {
        let expect = scenario.expect
        if let most = expect.silentCallsMax {
            for silence in watch.silences where silence.calls > most {
                let dead = hosts[Int(silence.dead)].plan.name
                violate(
                    .deadCostLittle, host: hosts[Int(silence.asker)],
                    "\(silence.calls) calls to \(dead) unanswered")
            }
        }
        if let least = expect.pausesMin, counts.pauses < least {
            violate(.readersHoldBack, host: nil, "\(counts.pauses) jobs were paused, at least \(least)")
        }
        let stayed = clients.filter {
            $0.outcome != .cancelled && $0.outcome != .askerLost && $0.outcome != .notSubmitted
        }
        let delivered = stayed.count { $0.outcome == .delivered }
        if let least = expect.deliveredPercentMin, delivered * 100 < stayed.count * least {
            violate(.enoughDelivered, host: nil, "\(delivered) of \(stayed.count) tasks, at least \(least) %")
        }
        if let most = expect.failoverGapMax, let worst = clients.map(\.longestFailoverGap).max(),
            worst > most.nanoseconds
        {
            violate(
                .failoverQuick, host: nil,
                "a client waited \(Report.number(worst, unit: 1_000_000, decimals: 0)) ms")
        }
    }
}
