import Cryptography
import Market
import MeshDocuments
import Primitives
import UVLoop
import Wire

// Clients' tasks: requests go from the gateway into the core, and events come back into the pipes.
extension Node {
    public func submit(_ request: TaskRequest, by client: String) async -> any TaskStreaming {
        guard !isLeaving else {
            return refused(.leaving, "This node is leaving the mesh: ask another, or this one later.")
        }
        let (most, now) = (request.mostCost, SystemClock.now())
        var request = request
        if !request.isQuote {
            if let refusal = budgets.refusal(of: most, client: client, at: now.wall) {
                return refused(.overBudget, Self.sentence(refusal))
            }
            // What is reserved is the bound.
            if budgets.bounds(client) { request.preferences.maxCost = most }
        }
        let id = peer.submit(request, now: now)
        if !request.isQuote { budgets.started(id, client: client, model: request.model, most: most) }
        let stream = TaskStream(
            id: id,
            onResume: { [weak self] in self?.post { $0.drained(id) } },
            onCancel: { [weak self] in self?.post { $0.hungUp(id) } })
        streams[id] = ClientStream(stream: stream)
        flush()
        return stream
    }

    public func quote(_ request: TaskRequest) async throws(TaskFailure) -> QuoteDocument {
        var request = request
        request.isQuote = true
        let stream = await submit(request, by: "")
        while let events = await stream.next() {
            for event in events {
                switch event {
                case .quoted(.success(let quote)): return QuoteDocument(quote, name: name(of:label:))
                case .quoted(.failure(let failure)), .failed(let failure): throw failure
                case .awarded, .delta, .progress, .restarted, .finished: break
                }
            }
        }
        throw TaskFailure(.cancelled, message: "The client left.")
    }

    /// Of a task that doesn't begin.
    private func refused(_ reason: Reason, _ message: String) -> TaskStream {
        let word = SecureRandom.bytes32()
        let stream = TaskStream(id: TaskID(high: word.w0, low: word.w1), onResume: {}, onCancel: {})
        _ = stream.append(.failed(TaskFailure(reason, message: message)))
        return stream
    }

    private static func sentence(_ refusal: Budgets.Refusal) -> String {
        func credits(_ amount: Money) -> String { MicroCredits.text(amount.microCredits) }
        let whose = refusal.client.isEmpty ? "this node" : "the key \(Printable.quoted(refusal.client))"
        return
            "This request can cost \(credits(refusal.needed)) credits, and \(whose) has \(credits(refusal.left)) left of"
            + " its \(credits(refusal.bound)) a day, until 00:00 UTC. Ask for less (max_tokens, provider.max_price or"
            + " provider.max_cost), or wait; the owner can raise credits_per_day."
    }

    /// Called from any thread; runs `work` on the loop's.
    private nonisolated func post(_ work: @escaping @Sendable (isolated Node) -> Void) {
        loop.post { self.assumeIsolated { work($0) } }
    }

    func deliver(_ task: TaskID, _ event: ClientEvent, _ now: Now) {
        if case .awarded(let award) = event, let after = award.after {
            logFailover(of: task, after, to: award)
        }
        guard let client = streams[task] else { return }
        if case .failed(let failure) = event {
            log.info(
                "a task failed",
                metadata: [
                    "task": "\(task)", "code": "\(failure.reason.code)",
                    "why": "\(Printable.line(failure.message))",
                ])
        }
        if event.isFinal {
            streams[task] = nil
            // A quote leaves no transcript.
            if case .quoted = event {} else { ended(task) }
            checkLeft()
        }
        let hasRoom = client.stream.buffer(event)
        if told.last !== client.stream { told.append(client.stream) }
        let bytes = event.bytes
        guard bytes > 0, !event.isFinal else { return }
        if hasRoom {
            peer.consumed(task, bytes: UInt64(bytes), now: now)
        } else {
            streams[task]?.withheld += bytes
        }
    }

    private func logFailover(of task: TaskID, _ lost: Failover, to award: AwardSummary) {
        log.info(
            "another node goes on with a task",
            metadata: [
                "task": "\(task)", "model": "\(award.model)",
                "from": "\(inWords(lost.worker, label: lost.name))",
                "to": "\(inWords(award.worker, label: award.workerName))",
                "why": "\(Printable.line(lost.why))", "delivered_tokens": .stringConvertible(lost.tokens),
            ])
    }

    private func inWords(_ worker: PublicKey, label: String) -> String {
        let name = name(of: worker, label: label)
        return name.isPinned ? Printable.line(name.text) : worker.inWords(label: label)
    }

    private func drained(_ task: TaskID) {
        guard let withheld = streams[task]?.withheld, withheld > 0 else { return }
        streams[task]?.withheld = 0
        peer.consumed(task, bytes: UInt64(withheld), now: SystemClock.now())
        flush()
    }

    private func hungUp(_ task: TaskID) {
        streams[task] = nil
        checkLeft()
        peer.cancel(task, now: SystemClock.now())
        ended(task)
        flush()
    }
}
