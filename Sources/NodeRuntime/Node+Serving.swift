import FoundationEssentials
import Inference
import Market
import OpenAIFormat
import Primitives
import UVLoop
import Wire

// Model servers: their state decides what is on sale, they run the jobs, and their events go to the core.
extension Node {
    func startBackends() {
        guard !backends.isEmpty else { return }
        let http = HTTPStreams(on: loop)
        self.http = http
        for index in backends.indices {
            let sale = backends[index].settings
            if sale.sellAs == nil, sale.name.isGuessed, sale.soldAs != sale.model,
                sale.backend != .managed
            {
                log.notice(
                    "others may know this model by another name: set sell_as",
                    metadata: ["model": "\(sale.model)", "sold_as": "\(sale.soldAs)"])
            }
            let driver = Backend(
                backends[index].configuration, http: http, on: loop,
                meter: backends[index].remembered?.meter,
                continues: backends[index].remembered?.continues,
                tested: backends[index].remembered?.abilities, version: backends[index].remembered?.version)
            driver.delegate = self
            backends[index].driver = driver
            driver.run()
        }
    }

    /// Tells the core which models can be served now.
    func updateServed() {
        let now = SystemClock.now()
        let models = backends.compactMap { $0.served(isPaused: isPaused, isLeaving: isLeaving, now.wall) }
        peer.serve(models, now: now)
        armQuiet(now.wall)
    }

    public func pause() async {
        isPaused = true
        updateServed()
        flush()
    }

    public func resume() async {
        isPaused = false
        updateServed()
        flush()
    }

    func startJob(_ job: Job, _ now: Now) {
        guard let index = backends.firstIndex(where: { $0.model == job.model }),
            let driver = backends[index].driver
        else {
            return peer.job(
                job.id,
                .failed(
                    Fail(
                        code: "backend_down", message: "The model is no longer served here.",
                        anotherMaySucceed: true)), now: now)
        }
        let kind: InferenceKind =
            switch job.kind {
            case .completion: .completion
            case .embedding: .embedding
            case .chat, .unspecified: .chat
            }
        jobs[job.id] = index
        sales.started(job, by: identity.publicKey, at: now.monotonic)
        let request = JobRequest(
            id: job.id, kind: kind, body: job.body, delivered: job.delivered, maxTokens: job.maxTokens,
            deadline: now.monotonic + job.deadline)
        if let failure = driver.start(request) {
            jobs[job.id] = nil
            jobEnded(job.id, usage: nil, failure.code.rawValue, failure.message)
            peer.job(job.id, .failed(failure.wire), now: now)
        }
    }

    func backend(of job: JobID, ended: Bool = false) -> Backend? {
        guard let index = jobs[job] else { return nil }
        if ended { jobs[job] = nil }
        return backends[index].driver
    }

    private func reported(_ job: JobID, _ event: BackendEvent) {
        let now = SystemClock.now()
        switch event {
        case .started: return
        case .progress(.queued(let milliseconds)):
            peer.job(job, .phase(.queued, amount: milliseconds), now: now)
        case .progress(.loading): peer.job(job, .phase(.loading), now: now)
        case .progress(.prefill(let tokens)): peer.job(job, .phase(.prefill, amount: tokens), now: now)
        case .text(let text, let tokens):
            sales.produced(job, tokens: tokens)
            peer.job(job, .produced(text: text, tokens: UInt32(clamping: tokens), extra: []), now: now)
        case .complex(let choices, let tokens):
            sales.produced(job, tokens: tokens)
            peer.job(job, .produced(text: [], tokens: UInt32(clamping: tokens), extra: choices), now: now)
        case .finished(let finish):
            if let index = jobs.removeValue(forKey: job) { backends[index].hasAnswered() }
            jobEnded(job, usage: finish.usage, finish.reason)
            peer.job(job, .finished(finish.wire), now: now)
        case .failed(let failure):
            if let index = jobs.removeValue(forKey: job), failure.code == .busy {
                backends[index].wasRefused(retryAfter: failure.retryAfter, now)
                updateServed()
            }
            jobEnded(job, usage: nil, failure.code.rawValue, failure.message)
            peer.job(job, .failed(failure.wire), now: now)
        }
        flush()
    }

    private func became(_ id: Int, _ status: BackendStatus) {
        let before = backends[id].status
        backends[id].status = status
        let model = backends[id].model
        switch status.state {
        case .up where before?.isUp != true:
            let speed = status.announced
            log.notice(
                "backend up",
                metadata: [
                    "model": "\(model)", "tokens_per_s": .stringConvertible(Int(speed.tokensPerSecond)),
                    "first_token_ms": .stringConvertible(Int(speed.firstTokenSeconds * 1000)),
                    "continues": .stringConvertible(status.continues),
                ])
            for difference in status.description.map(backends[id].settings.differences) ?? [] {
                log.warning(
                    "the configuration and the model server differ",
                    metadata: [
                        "model": "\(model)", "what": "\(difference)", "at": "\(backends[id].place)",
                    ])
            }
        case .down(let failure) where before?.state != status.state:
            log.warning(
                "backend down",
                metadata: [
                    "model": "\(model)", "why": "\(failure.message)", "at": "\(backends[id].place)",
                ])
        default: break
        }
        if status.isUp {
            if before?.continues != status.continues || before?.tested != status.tested {
                rememberSpeed(id)
            } else if before?.meter != status.meter {
                // With each answer.
                armJudgements()
                pendingSpeeds.insert(id)
            }
        }
        updateServed()
        flush()
    }

    func rememberSpeed(_ id: Int) {
        guard let speed = speed(of: id) else { return }
        let name = backends[id].settings.memoryName
        Task { [ledger] in
            do { try await ledger.set(name, speed) } catch {
                self.complain("the database failed to store a speed", error)
            }
        }
    }

    /// What is stored of a model server's speed; nil before it has answered.
    func speed(of id: Int) -> [UInt8]? {
        guard let status = backends[id].status, status.meter.isMeasured else { return nil }
        let record = SpeedRecord(
            meter: status.meter, continues: status.continues, abilities: status.tested,
            version: status.description?.version)
        return (try? JSONEncoder().encode(record)).map(Array.init)
    }
}

extension Node: BackendDelegate {
    public nonisolated func backend(_ id: Int, job: JobID, did event: BackendEvent) {
        assumeIsolated { $0.reported(job, event) }
    }

    public nonisolated func backend(_ id: Int, became status: BackendStatus) {
        assumeIsolated { $0.became(id, status) }
    }
}

extension JobFinish {
    var wire: Finish {
        Finish(
            reason: reason, promptTokens: UInt32(clamping: usage.promptTokens),
            cachedTokens: UInt32(clamping: usage.cachedTokens),
            completionTokens: UInt32(clamping: usage.completionTokens),
            droppedFields: Array(droppedFields.prefix(16)), extra: extra)
    }
}

extension BackendFailure {
    var wire: Fail { Fail(code: code.rawValue, message: message, anotherMaySucceed: isRetryable) }
}
