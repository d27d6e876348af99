// Clients, which read at the speed they are told, and scripted backends.

import Market
import Primitives
import Wire

extension MarketCarrier {
    // MARK: Clients

    func submit(_ index: Int32) {
        let task = planned[Int(index)]
        let node = begin(Int32(plan.sellers.count + task.asker))
        run.digest.mix(1, Int(node.index), Int(index))
        run.digest.mix(UInt64(bitPattern: clock))
        run.tasks[Int(index)].submittedAt = clock
        var body = Array("\(index)".utf8)
        body += [UInt8](repeating: 32, count: max(0, task.promptTokens * 4 - body.count))
        let tokens = UInt32(task.tokens)
        let request = TaskRequest(
            kind: .completion, model: plan.load.models[task.model], body: body,
            tokensIn: UInt32(body.count / 4), tokensOutEstimate: tokens, tokensOutMax: tokens,
            features: [.completion], resumable: plan.load.resumable, deadline: plan.load.deadline)
        node.submit(request, index)
        settle(node)
    }

    func client(_ id: TaskID, _ event: ClientEvent, _ node: MarketNode) {
        guard let index = node.tasks[id] else { return }
        switch event {
        case .awarded(let award):
            if run.tasks[Int(index)].awardedAt == nil { run.tasks[Int(index)].awardedAt = clock }
            if let place = node.candidates.first(where: { $0.address.key == award.worker }) {
                run.tasks[Int(index)].seller = MarketNode.index(of: place.address)
            }
        case .delta(let text, _, let extra):
            if run.tasks[Int(index)].firstByteAt == nil { run.tasks[Int(index)].firstByteAt = clock }
            node.consumed(id, bytes: text.count + extra.count)
        case .progress, .restarted, .quoted: break
        case .finished(let summary):
            run.tasks[Int(index)].cost = summary.cost
            end(id, index, .delivered, node)
        case .failed(let failure):
            run.tasks[Int(index)].cost = failure.delivered?.cost ?? .zero
            run.tasks[Int(index)].retryAfter = failure.retryAfter
            let isBegun = run.tasks[Int(index)].awardedAt != nil
            end(id, index, isBegun ? .failed : .refused, node)
        }
    }

    private func end(
        _ id: TaskID, _ index: Int32, _ end: MarketStudy.TaskRecord.End, _ node: MarketNode
    ) {
        node.tasks[id] = nil
        run.tasks[Int(index)].end = end
        run.tasks[Int(index)].endedAt = clock
        run.digest.mix(10, Int(index), Int(end.rawValue))
        let task = planned[Int(index)]
        if let next = task.next { queue.push(.submit(task: Int32(next)), at: clock + task.think) }
    }

    // MARK: Backends

    func start(_ job: Job, _ node: MarketNode) {
        let text = String(decoding: job.body.prefix { $0 != 32 }, as: UTF8.self)
        guard let index = Int32(text), planned.indices.contains(Int(index)) else { return }
        lastTicket &+= 1
        let position = job.delivered.count
        let end = min(planned[Int(index)].tokens, position + Int(job.maxTokens ?? .max))
        let firstAt = clock + plan.sellers[Int(node.index)].firstToken.nanoseconds
        node.jobs[job.id] = MarketJob(
            task: index, ticket: lastTicket, position: position, end: end, firstAt: firstAt)
        queue.push(.step(node: node.index, job: job.id.rawValue, ticket: lastTicket), at: firstAt)
    }

    /// A token is one byte of text. The first token is sent alone, the next ones in pieces.
    func step(_ node: MarketNode, _ id: JobID, _ ticket: UInt32) {
        guard var job = node.jobs[id], job.ticket == ticket, !job.isPaused else { return }
        node.begin(at: clock)
        let perToken = 1_000_000_000 / Int64(plan.sellers[Int(node.index)].tokensPerSecond)
        let isFirst = clock == job.firstAt
        let due = isFirst ? 1 : max(1, Int(plan.deltaEvery.nanoseconds / perToken))
        let tokens = max(0, min(due, job.end - job.position))
        job.position += tokens
        node.jobs[id] = job
        if tokens > 0 {
            let text = [UInt8](repeating: 97, count: tokens)
            node.job(id, .produced(text: text, tokens: UInt32(tokens), extra: []))
        }
        if job.position >= job.end {
            node.jobs[id] = nil
            let prompt = UInt32(max(1, planned[Int(job.task)].promptTokens))
            node.job(
                id,
                .finished(
                    Finish(reason: "stop", promptTokens: prompt, completionTokens: UInt32(job.position))))
        } else {
            planStep(job, id, perToken, node)
        }
        settle(node)
    }

    /// The next piece ends when its last token is due.
    private func planStep(_ job: MarketJob, _ id: JobID, _ perToken: Int64, _ node: MarketNode) {
        let piece = min(max(1, plan.deltaEvery.nanoseconds / perToken), Int64(job.end - job.position))
        queue.push(
            .step(node: node.index, job: id.rawValue, ticket: job.ticket), at: clock + piece * perToken)
    }

    func pause(_ id: JobID, _ isPaused: Bool, _ node: MarketNode) {
        guard var job = node.jobs[id], job.isPaused != isPaused else { return }
        lastTicket &+= 1
        job.isPaused = isPaused
        job.ticket = lastTicket
        node.jobs[id] = job
        guard !isPaused else { return }
        let perToken = 1_000_000_000 / Int64(plan.sellers[Int(node.index)].tokensPerSecond)
        planStep(job, id, perToken, node)
    }
}
