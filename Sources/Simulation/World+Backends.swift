// The model servers: jobs start, tokens come at their pace, and jobs fail as scripted.

import Market
import PeerCore
import Primitives
import Wire

extension World {
    func startJob(_ job: Job, _ host: Host, _ process: NodeProcess) {
        func refuse(_ code: String, _ message: String) {
            process.peer.job(
                job.id, .failed(Fail(code: code, message: message, anotherMaySucceed: true)), now: now(host))
        }
        guard let model = host.plan.serves.firstIndex(where: { $0.model == job.model }), !host.backend.isDown
        else {
            return refuse("backend_down", "The backend is gone.")
        }
        let plan = host.plan.serves[model]
        guard let answer = ScriptedAnswer(body: job.body),
            let position = answer.position(after: job.delivered)
        else {
            violate(.exactText, host: host, "a job continues a text that no worker could have delivered")
            return refuse("invalid_request", "The delivered text is not part of this answer.")
        }
        let limit = job.maxTokens.map { min(answer.tokens, position + Int($0)) } ?? answer.tokens
        var running = SimulatedBackend.Running(
            ticket: nextTicket(), task: job.task,
            work: .init(buyer: job.buyer, task: job.task, attempt: job.attempt), model: model, answer: answer,
            promptTokens: UInt32(job.body.count / 4), start: position, position: position,
            end: limit,
            reason: limit < answer.tokens ? "length" : "stop")
        if let failure = plan.failure, host.backend.random.chance(1, in: failure.oneIn) {
            running.hasFailure = failure.kind
            running.failureAt = position + failure.afterTokens
        }
        host.backend.jobs[job.id] = running
        jobsByTask[job.task, default: 0] += 1
        let busy = host.backend.jobs.values.count { $0.model == model }
        if busy > plan.slots {
            violate(.slotsRespected, host: host, "\(busy) jobs in \(plan.slots) slots of \(job.model)")
        }
        queue.push(
            .backend(host: Int32(host.index), job: job.id, ticket: running.ticket),
            at: clock + plan.firstToken.nanoseconds)
    }

    private func nextTicket() -> UInt32 {
        lastTicket += 1
        return lastTicket
    }

    func dropJob(_ host: Host, _ job: JobID) {
        guard let ended = host.backend.jobs.removeValue(forKey: job), let count = jobsByTask[ended.task]
        else { return }
        jobsByTask[ended.task] = count > 1 ? count - 1 : nil
    }

    func pauseJob(_ host: Host, _ job: JobID, _ isPaused: Bool) {
        guard let running = host.backend.jobs[job], running.isPaused != isPaused else { return }
        host.backend.jobs[job]?.isPaused = isPaused
        if isPaused { counts.pauses += 1 }
        let ticket = nextTicket()
        host.backend.jobs[job]?.ticket = ticket
        guard !isPaused else { return }
        let time = SimulatedBackend.pace(host.plan.serves[running.model]).time
        queue.push(.backend(host: Int32(host.index), job: job, ticket: ticket), at: clock + time)
    }

    /// The backend has the next tokens. It runs on while its node's process is frozen: its output waits in a
    /// socket.
    func stepBackend(_ host: Host, _ job: JobID, _ ticket: UInt32) {
        guard var running = host.backend.jobs[job], running.ticket == ticket else { return }
        let pace = SimulatedBackend.pace(host.plan.serves[running.model])
        if let failure = running.hasFailure, running.position >= running.failureAt {
            if failure == .error { dispatch(.report(host: Int32(host.index), job: job, from: -1, to: -1)) }
            return
        }
        let from = running.position
        let to = min(running.end, from + pace.tokens)
        running.position = to
        host.backend.jobs[job] = running
        if to < running.end || running.hasFailure != nil {
            queue.push(.backend(host: Int32(host.index), job: job, ticket: ticket), at: clock + pace.time)
        }
        dispatch(.report(host: Int32(host.index), job: job, from: Int32(from), to: Int32(to)))
    }

    /// Reports to the process: tokens `from..<to`, and the end with the last one; −1 for an error.
    func report(_ host: Host, _ job: JobID, _ from: Int, _ to: Int, _ event: Event) {
        guard let process = host.process, let running = host.backend.jobs[job] else { return }
        if host.state == .frozen { return process.inbox.append(event) }
        digest.mix(7, host.index, to)
        digest.mix(UInt64(bitPattern: clock))
        let now = now(host)
        if from < 0 {
            dropJob(host, job)
            process.peer.job(
                job, .failed(Fail(code: "backend_error", message: "scripted", anotherMaySucceed: true)),
                now: now)
        } else {
            if to > from {
                host.backend.produced.insert(
                    running.work, (host.backend.produced[running.work] ?? 0) + to - from)
                let text = running.answer.text(from..<to)
                process.peer.job(job, .produced(text: text, tokens: UInt32(to - from), extra: []), now: now)
            }
            if to == running.end, running.hasFailure == nil, host.backend.jobs[job] != nil {
                dropJob(host, job)
                let finish = Finish(
                    reason: running.reason, promptTokens: running.promptTokens,
                    completionTokens: UInt32(to - running.start))
                process.peer.job(job, .finished(finish), now: now)
            }
        }
        flush(host, process)
    }

    func setBackend(_ host: Host, down isDown: Bool) {
        host.backend.isDown = isDown
        guard let process = host.process, host.state == .running else { return }
        if isDown {
            for job in host.backend.jobs.keys.sorted() {
                dropJob(host, job)
                process.peer.job(
                    job, .failed(Fail(code: "backend_down", message: "scripted", anotherMaySucceed: true)),
                    now: now(host))
            }
        }
        updateServed(host, process)
        flush(host, process)
    }
}
