// One task's answer: submits the task, and collects or streams the answer. A client that goes cancels the Swift task, and
// with it the stream.

import Cryptography
import FoundationEssentials
import Market
import NIOCore
import NIOHTTP1
import NodeRuntime
import OpenAIFormat
import Primitives

extension GatewayResponder {
    func answer(_ kind: ClientRequest.Kind, _ request: Request) async -> Response {
        guard let read = await read(kind, request) else { return Reply.gone }
        let client: ClientRequest
        let asked: TaskRequest
        do throws(ErrorBody) {
            client = try read.get()
            asked = try await taskRequest(client, request)
        } catch {
            return Reply.error(error)
        }
        let caller = admission.caller(of: request) ?? .owner
        let models = [asked.model] + asked.fallbackModels
        if let refusal = refusal(of: models, to: caller) { return refusal }
        counters.opened()
        let started = ContinuousClock.now
        let answer = TaskAnswer(
            client: client, models: models, stream: await node.submit(asked, by: caller.name),
            loop: request.channel.eventLoop,
            started: started, responder: self)
        return client.stream ? await answer.streamed() : await answer.whole()
    }
}

struct TaskAnswer: Sendable {
    let client: ClientRequest
    /// The canonical names of the client's models, in its order.
    let models: [String]
    let stream: any TaskStreaming
    let loop: any EventLoop
    let started: ContinuousClock.Instant
    let responder: GatewayResponder
    let identity: AnswerIdentity

    init(
        client: ClientRequest, models: [String], stream: any TaskStreaming, loop: any EventLoop,
        started: ContinuousClock.Instant, responder: GatewayResponder
    ) {
        self.client = client
        self.models = models
        self.stream = stream
        self.loop = loop
        self.started = started
        self.responder = responder
        identity = AnswerIdentity(
            kind: client.kind, task: stream.id.description, created: Int64(Date().timeIntervalSince1970),
            model: client.model, choices: client.choices)
    }

    /// The model that was sold, as the client named it.
    func name(of award: AwardSummary?) -> String {
        guard let award, let index = models.firstIndex(of: award.model), index > 0 else {
            return client.model
        }
        return client.fallbackModels[index - 1]
    }

    func identity(_ award: AwardSummary?) -> AnswerIdentity {
        var identity = identity
        identity.model = name(of: award)
        return identity
    }

    // MARK: Not streamed

    func whole() async -> Response {
        defer { responder.counters.closed() }
        var award: AwardSummary?
        var answer = WholeAnswer()
        while let events = await stream.next() {
            for event in events {
                switch event {
                case .awarded(let summary): award = summary
                case .progress, .quoted: break
                case .restarted: answer = WholeAnswer()
                case .delta(let text, let tokens, let extra):
                    guard extra.isEmpty ? answer.append(text: text) : answer.append(choices: extra) else {
                        stream.cancel()
                        return await failure(.unreadable(client.model))
                    }
                    responder.counters.delivered(tokens)
                    stream.consumed(event.bytes)
                case .failed(let failed): return await failure(failed)
                case .finished(let summary): return await finished(answer, summary, award)
                }
            }
        }
        return Reply.gone
    }

    private func finished(
        _ answer: WholeAnswer, _ summary: TaskSummary, _ award: AwardSummary?
    ) async -> Response {
        let usage = usage(summary)
        let body: [UInt8]
        if client.kind == .embedding {
            let (client, model) = (client, name(of: award))
            let built = await LargeWork.run(bytes: summary.extra.count) {
                EmbeddingAnswer.body(
                    summary.extra, inputs: Int(client.choices), model: model, base64: client.base64,
                    usage: usage)
            }
            guard let built else { return await failure(.unreadable(client.model)) }
            body = built
        } else {
            let identity = identity(award)
            body = await LargeWork.run(bytes: answer.bytes) {
                answer.body(identity, reason: summary.reason, usage: usage)
            }
        }
        var response = Reply.json(body)
        describe(award, firstToken: summary.firstToken, in: &response.headers)
        response.headers.add(name: "starling-cost", value: Credits.text(summary.cost.microCredits))
        return response
    }

    // MARK: Shared

    func usage(_ summary: TaskSummary) -> Usage {
        Usage(
            promptTokens: summary.promptTokens, cachedTokens: summary.cachedTokens,
            completionTokens: summary.completionTokens, cost: summary.cost, task: stream.id.description,
            workers: summary.workers.map { NodeID(of: $0).description }, failovers: summary.failovers,
            discardedTokens: summary.discarded.tokens, discardedCost: summary.discarded.cost)
    }

    func failure(_ failed: TaskFailure) async -> Response {
        let catalogue = failed.reason == .modelNotFound ? await responder.node.catalogue() : []
        let explained = ExplainedFailure(
            failed, task: stream.id.description, kind: client.kind, model: client.model,
            isOneOfSeveral: models.count > 1, catalogue: catalogue)
        var response = Reply.error(explained.body, status: explained.status, retryAfter: explained.retryAfter)
        response.headers.add(name: "x-request-id", value: stream.id.description)
        response.headers.add(
            name: "starling-auction",
            value: "known=\(failed.known), asked=\(failed.asked), bids=\(failed.bids)")
        response.headers.add(
            name: "server-timing", value: "total;dur=\(Self.milliseconds(ContinuousClock.now - started))")
        return response
    }

    /// Headers that name the worker and its terms. Rates are in credits per million tokens; the bill is in
    /// `usage`.
    func describe(_ award: AwardSummary?, firstToken: Interval?, in headers: inout HTTPHeaders) {
        headers.add(name: "x-request-id", value: stream.id.description)
        guard let award else { return }
        headers.add(name: "starling-worker", value: NodeID(of: award.worker).description)
        var model = Reply.token(name(of: award))
        if !award.quantization.isEmpty { model += "; quantization=\(Reply.token(award.quantization))" }
        if let digest = award.digest {
            model +=
                "; digest="
                + digest.bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        }
        headers.add(name: "starling-model", value: model)
        headers.add(
            name: "starling-price",
            value:
                "input=\(Credits.rate(award.price.input)), cached_input=\(Credits.rate(award.price.cachedInput)),"
                + " output=\(Credits.rate(award.price.output))")
        headers.add(
            name: "starling-auction", value: "known=\(award.known), asked=\(award.asked), bids=\(award.bids)")
        headers.add(name: "starling-resume", value: award.resume.rawValue)
        var phases = [("choose", award.choose), ("bids", award.collect), ("award", award.award)]
        if let firstToken { phases.append(("first", firstToken)) }
        let timing = phases.map { "\($0.0);dur=\(Self.milliseconds(.nanoseconds($0.1.nanoseconds)))" }
        headers.add(name: "server-timing", value: timing.joined(separator: ", "))
    }

    /// Milliseconds with one decimal.
    private static func milliseconds(_ duration: Duration) -> String {
        let tenths = max(0, Int64((duration / .microseconds(100)).rounded()))
        return "\(tenths / 10).\(tenths % 10)"
    }
}

extension TaskFailure {
    /// A worker sent something that is not an answer.
    fileprivate static func unreadable(_ model: String) -> TaskFailure {
        TaskFailure(
            .backendError,
            message:
                "The node that answered for \(model.prefix(100)) sent an invalid or endless answer.")
    }
}
