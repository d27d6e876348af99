// A streamed answer. Nothing is sent before the award. Nothing is sent before the first delta either, unless
// that takes two seconds, so that failures keep their status codes. After the first byte, errors are events, and comments
// say where a task waits in a queue.

import Market
import NIOCore
import NodeRuntime
import OpenAIFormat
import Primitives

/// What a stream has sent so far, and what it sends next. A class, because the frames of the request's task would hold
/// several copies of a value: 20 kB for each open answer.
final class StreamProgress {
    private(set) var chunks: StreamChunks
    /// The model that the chunks name.
    private(set) var model: String
    /// Output that is to be written at once.
    var out: [UInt8] = []
    /// The part of `out` that counts in the pipe's flow control.
    var bytes = 0
    var award: AwardSummary?
    var summary: TaskSummary?
    var failure: TaskFailure?
    var tokens: UInt32 = 0
    private var quiet = true
    private var hasBegun = false
    /// The status is sent, or the time in which a failure would have had one is over.
    var mayComment = false
    private var queue = QueueNews()
    /// Where the task waits for a slot; nil: it has one, or its worker doesn't say.
    private var wait: String?

    init(_ identity: AnswerIdentity, includeUsage: Bool) {
        model = identity.model
        chunks = StreamChunks(identity, includeUsage: includeUsage)
    }

    /// The award says which of the client's models answers; once the answer has begun that can't change.
    func begin(_ identity: AnswerIdentity, includeUsage: Bool) {
        guard !hasBegun, identity.model != model else { return }
        model = identity.model
        chunks = StreamChunks(identity, includeUsage: includeUsage)
    }

    func finish(reason: String, usage: Usage) {
        chunks.finish(reason: reason, usage: usage, to: &out)
    }

    var isOver: Bool { summary != nil || failure != nil }

    func take(_ event: ClientEvent) {
        switch event {
        case .awarded(let award):
            self.award = award
            (queue, wait) = (QueueNews(), nil)
        case .progress(let latest):
            wait = latest.queueInWords
            guard queue.isNews(latest), mayComment, let wait else { return }
            quiet = false
            StreamChunks.comment(wait, to: &out)
        // A task that streams never begins again.
        case .restarted, .quoted: break
        case .delta(let text, let tokens, let extra):
            (quiet, hasBegun, wait) = (false, true, nil)
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
    func signOfLife() {
        mayComment = true
        if quiet, let award { StreamChunks.comment(wait ?? "waiting for \(award.workerName)", to: &out) }
        quiet = true
    }
}

extension TaskAnswer {
    func streamed() async -> Response {
        let progress = StreamProgress(identity, includeUsage: client.includeUsage)
        responder.heartbeat.add(stream, on: loop)
        while progress.out.isEmpty, progress.summary == nil {
            guard let events = await stream.next() else {
                end()
                return Reply.gone
            }
            take(events, into: progress)
            if let failed = progress.failure {
                end()
                return await failure(failed)
            }
        }
        progress.mayComment = true
        var response = Response(
            status: .ok,
            headers: ["content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"],
            body: body(progress))
        let first = progress.award.map {
            Interval(nanoseconds: Int64((ContinuousClock.now - started) / .nanoseconds(1)))
                - ($0.choose + $0.collect + $0.award)
        }
        describe(progress.award, firstToken: first, in: &response.headers)
        return response
    }

    private func body(_ begun: StreamProgress) -> Response.Body {
        // Only the request's task has it.
        nonisolated(unsafe) let progress = begun
        return .stream { writer in
            defer { end() }
            do {
                while true {
                    finish(progress)
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
                    take(events, into: progress)
                }
            } catch {
                stream.cancel()
                throw error
            }
        }
    }

    private func end() {
        responder.heartbeat.remove(stream.id)
        responder.counters.closed()
    }

    /// Not inlined: an event is large, and would be part of the task's frame.
    @inline(never)
    private func take(_ events: [ClientEvent], into progress: StreamProgress) {
        if events.isEmpty { progress.signOfLife() }
        for event in events {
            if case .awarded(let award) = event {
                progress.begin(identity(award), includeUsage: client.includeUsage)
            }
            progress.take(event)
        }
    }

    /// Writes the end of the stream, if the task is over.
    @inline(never)
    private func finish(_ progress: StreamProgress) {
        if let summary = progress.summary {
            progress.finish(reason: summary.reason, usage: usage(summary))
        } else if let failed = progress.failure {
            let explained = ExplainedFailure(
                failed, task: stream.id.description, kind: client.kind, model: client.model,
                isOneOfSeveral: models.count > 1, catalogue: [])
            StreamChunks.error(explained.body, to: &progress.out)
        }
    }
}
