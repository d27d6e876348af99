// One task's answer: submits the task, watches for a hang-up, and collects or streams the answer.

import Cryptography
import Foundation
import HTTPTypes
import Hummingbird
import Market
import NIOCore
import NodeRuntime
import OpenAIFormat
import Primitives
import Synchronization

extension GatewayResponder {
    func answer(
        _ kind: ClientRequest.Kind, _ request: Request, _ context: GatewayContext
    ) async throws -> Response {
        guard let read = try await read(kind, request, context.channel) else { return Reply.gone }
        let client: ClientRequest
        let asked: TaskRequest
        do throws(ErrorBody) {
            client = try read.get()
            asked = try await taskRequest(client, request)
        } catch {
            return Reply.error(error)
        }
        let hangUp = try await context.channel.hangUp()
        let started = ContinuousClock.now
        let stream = await node.submit(asked)
        let open = OpenAnswer(hangUp: hangUp, counters: counters)
        hangUp.perform {
            stream.cancel()
            open.end()
        }
        let answer = TaskAnswer(
            client: client, stream: stream, open: open, channel: context.channel, started: started,
            responder: self)
        return client.stream ? await answer.streamed() : await answer.whole()
    }
}

/// The resources of an open answer. They are released once: by its handler, or by the hang-up of a client to
/// which the handler never got to write.
final class OpenAnswer: Sendable {
    private let hangUp: HangUp
    private let counters: GatewayCounters
    private let state = Mutex<(timer: RepeatedTask?, over: Bool)>((nil, false))

    init(hangUp: HangUp, counters: GatewayCounters) {
        self.hangUp = hangUp
        self.counters = counters
        counters.opened()
    }

    /// Keeps a timer that is to stop with the answer.
    func keep(_ timer: RepeatedTask) {
        let over = state.withLock { state in
            if !state.over { state.timer = timer }
            return state.over
        }
        if over { timer.cancel() }
    }

    /// From here on, events of the connection no longer concern the task.
    func end() {
        let (timer, first) = state.withLock { state in
            defer { state = (nil, true) }
            return (state.timer, !state.over)
        }
        guard first else { return }
        timer?.cancel()
        hangUp.clear()
        counters.closed()
    }
}

struct TaskAnswer: Sendable {
    let client: ClientRequest
    let stream: any TaskStreaming
    let open: OpenAnswer
    let channel: any Channel
    let started: ContinuousClock.Instant
    let responder: GatewayResponder
    let identity: AnswerIdentity

    init(
        client: ClientRequest, stream: any TaskStreaming, open: OpenAnswer, channel: any Channel,
        started: ContinuousClock.Instant, responder: GatewayResponder
    ) {
        self.client = client
        self.stream = stream
        self.open = open
        self.channel = channel
        self.started = started
        self.responder = responder
        identity = AnswerIdentity(
            kind: client.kind, task: stream.id.description, created: Int64(Date().timeIntervalSince1970),
            model: client.model)
    }

    // MARK: Not streamed

    func whole() async -> Response {
        defer { open.end() }
        var award: AwardSummary?
        var answer = WholeAnswer()
        while let events = await stream.next() {
            for event in events {
                switch event {
                case .awarded(let summary): award = summary
                case .progress: break
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
            let client = client
            let built = await LargeWork.run(bytes: summary.extra.count) {
                EmbeddingAnswer.body(
                    summary.extra, inputs: Int(client.choices), model: client.model, base64: client.base64,
                    usage: usage)
            }
            guard let built else { return await failure(.unreadable(client.model)) }
            body = built
        } else {
            let identity = identity
            body = await LargeWork.run(bytes: answer.bytes) {
                answer.body(identity, reason: summary.reason, usage: usage)
            }
        }
        var response = Reply.json(body)
        describe(award, firstToken: summary.firstToken, in: &response.headers)
        response.headers[.cost] = Credits.text(summary.cost.microCredits)
        return response
    }

    // MARK: Shared

    func usage(_ summary: TaskSummary) -> Usage {
        Usage(
            promptTokens: summary.promptTokens, cachedTokens: summary.cachedTokens,
            completionTokens: summary.completionTokens, cost: summary.cost, task: stream.id.description,
            workers: summary.workers.map { NodeID(of: $0).description }, failovers: summary.failovers)
    }

    func failure(_ failed: TaskFailure) async -> Response {
        let catalogue = failed.reason == .modelNotFound ? await responder.node.catalogue() : []
        let explained = ExplainedFailure(
            failed, task: stream.id.description, model: client.model, catalogue: catalogue)
        var response = Reply.error(explained.body, status: explained.status, retryAfter: explained.retryAfter)
        response.headers[.requestID] = stream.id.description
        response.headers[.auction] = "known=\(failed.known), asked=\(failed.asked), bids=\(failed.bids)"
        response.headers[.serverTiming] = "total;dur=\(Self.milliseconds(ContinuousClock.now - started))"
        return response
    }

    /// Headers that name the worker and its terms. Rates are in credits per million tokens; the bill is in
    /// `usage`.
    func describe(_ award: AwardSummary?, firstToken: Interval?, in headers: inout HTTPFields) {
        headers[.requestID] = stream.id.description
        guard let award else { return }
        headers[.worker] = NodeID(of: award.worker).description
        var model = Reply.token(client.model)
        if !award.quantization.isEmpty { model += "; quantization=\(Reply.token(award.quantization))" }
        if let digest = award.digest {
            model +=
                "; digest="
                + digest.bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        }
        headers[.model] = model
        headers[.price] =
            "input=\(Credits.rate(award.price.input)), cached_input=\(Credits.rate(award.price.cachedInput)),"
            + " output=\(Credits.rate(award.price.output))"
        headers[.auction] = "known=\(award.known), asked=\(award.asked), bids=\(award.bids)"
        headers[.resume] = award.resume.rawValue
        var phases = [("choose", award.choose), ("bids", award.collect), ("award", award.award)]
        if let firstToken { phases.append(("first", firstToken)) }
        headers[.serverTiming] = phases.map {
            "\($0.0);dur=\(Self.milliseconds(.nanoseconds($0.1.nanoseconds)))"
        }.joined(separator: ", ")
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
