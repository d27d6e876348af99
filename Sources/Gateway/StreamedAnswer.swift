// A streamed answer. Nothing is sent before the award. Nothing is sent before the first delta either, unless
// that takes two seconds, so that failures keep their status codes. After the first byte, errors are events.

import Market
import NIOCore
import NodeRuntime
import OpenAIFormat
import Primitives

/// What a stream has sent so far, and what it sends next.
struct StreamProgress: Sendable {
    private(set) var chunks: StreamChunks
    /// Output that is to be written at once.
    var out: [UInt8] = []
    /// The part of `out` that counts in the pipe's flow control.
    var bytes = 0
    var award: AwardSummary?
    var awardedAt: ContinuousClock.Instant?
    var summary: TaskSummary?
    var failure: TaskFailure?
    var tokens: UInt32 = 0
    private var quiet = true
    private var hasBegun = false

    init(chunks: StreamChunks) { self.chunks = chunks }

    /// The award says which of the client's models answers; once the answer has begun that can't change.
    mutating func begin(_ chunks: StreamChunks) { if !hasBegun { self.chunks = chunks } }

    mutating func finish(reason: String, usage: Usage) {
        chunks.finish(reason: reason, usage: usage, to: &out)
    }

    var isOver: Bool { summary != nil || failure != nil }

    mutating func take(_ event: ClientEvent) {
        switch event {
        case .awarded(let award):
            self.award = award
            if awardedAt == nil { awardedAt = .now }
        // A task that streams never begins again.
        case .progress, .restarted: break
        case .delta(let text, let tokens, let extra):
            quiet = false
            hasBegun = true
            bytes += event.bytes
            self.tokens &+= tokens
            if extra.isEmpty {
                chunks.text(text, to: &out)
            } else {
                // A value that is not a list of choices is dropped; its text counts as delivered all the
                // same.
                _ = chunks.choices(extra, to: &out)
            }
        case .finished(let summary): self.summary = summary
        case .failed(let failure): self.failure = failure
        }
    }

    /// Called by the timer: adds a comment if nothing was sent since the last call.
    mutating func signOfLife() {
        if quiet, let award { StreamChunks.comment("waiting for \(award.workerName)", to: &out) }
        quiet = true
    }
}

extension TaskAnswer {
    func streamed() async -> Response {
        var progress = StreamProgress(chunks: StreamChunks(identity, includeUsage: client.includeUsage))
        var timer: RepeatedTask?
        while progress.out.isEmpty, progress.summary == nil {
            guard let events = await stream.next() else {
                end(timer)
                return Reply.gone
            }
            take(events, into: &progress)
            if let failed = progress.failure {
                end(timer)
                return await failure(failed)
            }
            if progress.award != nil, timer == nil { timer = startTimer() }
        }
        var response = Response(
            status: .ok,
            headers: ["content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"],
            body: body(progress, timer))
        let first = progress.awardedAt.map { ContinuousClock.now - $0 }
        describe(
            progress.award,
            firstToken: first.map { Interval(nanoseconds: Int64($0 / .nanoseconds(1))) },
            in: &response.headers)
        return response
    }

    private func body(_ begun: StreamProgress, _ timer: RepeatedTask?) -> Response.Body {
        .stream { writer in
            var progress = begun
            defer { end(timer) }
            do {
                while true {
                    finish(&progress)
                    if !progress.out.isEmpty {
                        try await writer.write(progress.out, isLast: progress.isOver)
                        progress.out.removeAll(keepingCapacity: true)
                        responder.counters.delivered(progress.tokens)
                        progress.tokens = 0
                        stream.consumed(progress.bytes)
                        progress.bytes = 0
                    }
                    if progress.isOver { return }
                    guard let events = await stream.next() else { throw CancellationError() }
                    take(events, into: &progress)
                }
            } catch {
                stream.cancel()
                throw error
            }
        }
    }

    private func end(_ timer: RepeatedTask?) {
        timer?.cancel()
        responder.counters.closed()
    }

    private func take(_ events: [ClientEvent], into progress: inout StreamProgress) {
        if events.isEmpty { progress.signOfLife() }
        for event in events {
            if case .awarded(let award) = event {
                progress.begin(StreamChunks(identity(award), includeUsage: client.includeUsage))
            }
            progress.take(event)
        }
    }

    /// Writes the end of the stream, if the task is over.
    private func finish(_ progress: inout StreamProgress) {
        if let summary = progress.summary {
            progress.finish(reason: summary.reason, usage: usage(summary))
        } else if let failed = progress.failure {
            let explained = ExplainedFailure(
                failed, task: stream.id.description, kind: client.kind, model: client.model,
                isOneOfSeveral: models.count > 1, catalogue: [])
            StreamChunks.error(explained.body, to: &progress.out)
        }
    }

    private func startTimer() -> RepeatedTask {
        let configuration = responder.configuration
        return loop.scheduleRepeatedTask(
            initialDelay: .nanoseconds(configuration.firstSignOfLife.nanoseconds),
            delay: .nanoseconds(configuration.signOfLifeEvery.nanoseconds)
        ) { [stream] _ in stream.wake() }
    }
}
