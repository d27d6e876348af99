// Clients: they submit, read at their speed, hang up, and compare every byte with the reference.

import Market
import PeerCore
import Primitives
import Wire

extension World {
    /// Draws the tasks of a load before the run starts.
    func plan(_ load: LoadPlan, _ random: inout SeededRandom) {
        let askers = load.askers.isEmpty ? Array(hosts.indices) : load.askers
        let first = clients.count
        for task in load.draw(askers, &random) {
            if let at = task.at { queue.push(.submit(client: Int32(clients.count)), at: at) }
            clients.append(Client(task, load, first: first))
            watch.openClients += 1
        }
    }

    func submit(_ id: Int32, _ event: Event) {
        // A client whose node is down asks the next one.
        let first = clients[Int(id)].asker
        let candidates = (0..<hosts.count).lazy.map { self.hosts[(first + $0) % self.hosts.count] }
        guard let host = candidates.first(where: { $0.process?.isLeaving == false && !$0.isSilent }),
            let process = host.process
        else {
            return finish(id, .notSubmitted)
        }
        if host.state == .frozen { return process.inbox.append(event) }
        let client = clients[Int(id)]
        var request = TaskRequest(
            kind: .completion, model: client.model, body: client.body,
            tokensIn: UInt32(client.body.count / 4), tokensOutEstimate: UInt32(client.answer.tokens),
            tokensOutMax: UInt32(client.answer.tokens), features: [.completion],
            resumable: client.load.resumable,
            deadline: client.load.deadline)
        request.preferences.maxOutputPrice = client.load.maxOutputPrice
        clients[Int(id)].host = Int32(host.index)
        clients[Int(id)].submittedAt = clock
        clients[Int(id)].reference = client.answer.text(0..<client.answer.tokens)
        let task = process.peer.submit(request, now: now(host))
        clients[Int(id)].task = task
        process.tasks[task] = id
        digest.mix(8, host.index, Int(id))
        digest.mix(task.low)
        if let after = client.hangsUpAfter { queue.push(.hangUp(client: id), at: clock + after) }
        flush(host, process)
    }

    func deliver(_ task: TaskID, _ event: ClientEvent, _ host: Host, _ process: NodeProcess) {
        guard let id = process.tasks[task] else {
            return violate(.oneEnd, host: host, "an event of an unknown task \(task)")
        }
        digest.mix(17, host.index, Int(id))
        if let outcome = clients[Int(id)].outcome {
            // A client that hung up gets at most that outcome; a task with an outcome must not get a second
            // one.
            if outcome == .cancelled, case .failed(let failure) = event, failure.reason == .cancelled {
                return
            }
            return violate(.oneEnd, host: host, "task \(task) goes on after its end")
        }
        switch event {
        case .awarded(let award):
            clients[Int(id)].awards += 1
            clients[Int(id)].worker = award.worker
            if clients[Int(id)].awardedAt == nil { clients[Int(id)].awardedAt = clock }
            if clients[Int(id)].received > 0 { clients[Int(id)].isFailingOver = true }
        case .delta(let text, _, _):
            take(text, id, host, process, task)
        case .progress, .quoted: break
        case .restarted: violate(.exactText, host: host, "task \(task) streams and begins again")
        case .finished(let summary):
            clients[Int(id)].failovers = summary.failovers
            clients[Int(id)].cost = summary.cost
            clients[Int(id)].billedTokens = Int(summary.promptTokens) + Int(summary.completionTokens)
            let client = clients[Int(id)]
            if client.received != client.reference.count {
                violate(
                    .exactText, host: host,
                    "task \(task) ends after \(client.received) of \(client.reference.count) bytes")
            }
            check(summary, client, task, host)
            if summary.completionTokens != UInt32(client.answer.tokens) {
                violate(
                    .exactText, host: host,
                    "task \(task) bills \(summary.completionTokens) of \(client.answer.tokens) tokens")
            }
            finish(id, .delivered)
        case .failed(let failure):
            let state = process.peer.transcript(task)?.state
            let code = failure.reason.code
            finish(id, state == .refused ? .refused(code) : state == .cancelled ? .cancelled : .failed(code))
            note(explanation(id, failure, host, process))
        }
    }

    /// A bill is for something, and within the client's limits.
    private func check(_ summary: TaskSummary, _ client: Client, _ task: TaskID, _ host: Host) {
        if client.received == 0, summary.cost > .zero {
            violate(.noPayForNothing, host: host, "task \(task) costs \(summary.cost) µcr and has no answer")
        }
        if Int(summary.completionTokens) > client.answer.tokens {
            violate(
                .limitsHold, host: host,
                "task \(task) has \(summary.completionTokens) of \(client.answer.tokens) tokens")
        }
    }

    private func explanation(_ id: Int32, _ failure: TaskFailure, _ host: Host, _ process: NodeProcess)
        -> String
    {
        let reasons = failure.reasons.map { "\($0.nodes) \($0.reason.key)" }.joined(separator: ", ")
        var line = "\(host.plan.name): task \(id): \(failure.message) [\(reasons)]"
        guard let task = clients[Int(id)].task, let transcript = process.peer.transcript(task) else {
            return line
        }
        for bid in transcript.bids {
            let seller = hosts.first { $0.identity.publicKey == bid.worker }?.plan.name ?? "?"
            line += " \(seller) \(bid.outcome.rawValue)\(bid.declined.map { " \($0.rawValue)" } ?? "")"
        }
        return line
    }

    private func take(_ text: [UInt8], _ id: Int32, _ host: Host, _ process: NodeProcess, _ task: TaskID) {
        var client = clients[Int(id)]
        clients[Int(id)].reference = []
        let end = client.received + text.count
        if end > client.reference.count || !client.reference[client.received..<end].elementsEqual(text) {
            violate(.exactText, host: host, "task \(task) gets other bytes than \(client.received)..<\(end)")
        }
        client.received = min(end, client.reference.count)
        if client.firstByteAt == nil { client.firstByteAt = clock }
        if client.isFailingOver, let last = client.lastByteAt {
            client.longestFailoverGap = max(client.longestFailoverGap, clock - last)
            client.isFailingOver = false
        }
        client.lastByteAt = clock
        var readsNow = false
        if client.load.readsBytesPerSecond == nil {
            readsNow = true
        } else {
            client.unread += text.count
            if !client.isReading {
                client.isReading = true
                queue.push(.read(client: id), at: clock + Self.readEvery)
            }
        }
        clients[Int(id)] = client
        if readsNow { process.peer.consumed(task, bytes: UInt64(text.count), now: now(host)) }
    }

    private static let readEvery: Int64 = 50_000_000

    func read(_ id: Int32) {
        let client = clients[Int(id)]
        clients[Int(id)].isReading = false
        guard client.outcome == nil, let speed = client.load.readsBytesPerSecond, let task = client.task
        else { return }
        let host = hosts[Int(client.host)]
        guard host.state == .running, let process = host.process, process.tasks[task] == id else { return }
        let bytes = min(client.unread, max(1, speed / 20))
        clients[Int(id)].unread -= bytes
        if client.unread > bytes {
            clients[Int(id)].isReading = true
            queue.push(.read(client: id), at: clock + Self.readEvery)
        }
        process.peer.consumed(task, bytes: UInt64(bytes), now: now(host))
        flush(host, process)
    }

    func hangUp(_ id: Int32, _ event: Event) {
        let client = clients[Int(id)]
        guard client.outcome == nil, let task = client.task else { return }
        let host = hosts[Int(client.host)]
        guard let process = host.process, process.tasks[task] == id else { return }
        if host.state == .frozen { return process.inbox.append(event) }
        finish(id, .cancelled)
        digest.mix(9, host.index, Int(id))
        process.peer.cancel(task, now: now(host))
        if let within = scenario.expect.cancelWithin {
            queue.push(.cancelDue(client: id), at: clock + within.nanoseconds)
        }
        flush(host, process)
    }

    func checkCancelled(_ id: Int32) {
        guard let task = clients[Int(id)].task, let jobs = jobsByTask[task] else { return }
        violate(
            .cancelReaches, host: hosts[Int(clients[Int(id)].host)],
            "\(jobs) jobs of task \(task) run on after the client left")
    }

    func askerLost(_ id: Int32) {
        if clients[Int(id)].outcome == nil { finish(id, .askerLost) }
    }

    private func finish(_ id: Int32, _ outcome: Outcome) {
        clients[Int(id)].outcome = outcome
        clients[Int(id)].endedAt = clock
        watch.openClients -= 1
        let client = clients[Int(id)]
        if let next = client.next { queue.push(.submit(client: next), at: clock + client.think) }
        if client.host >= 0, let task = client.task { countSilentCalls(task, hosts[Int(client.host)]) }
    }
}
