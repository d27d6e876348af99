// `Idempotency-Key`: a request that is sent again with the same key gets the same task and its answer, running or over, and
// is billed once (draft-ietf-httpapi-idempotency-key-header). An SDK that sends a request again after a timeout or a
// lost connection would else buy a second answer.

import Cryptography
import NIOCore
import NIOHTTP1
import OpenAIFormat
import Primitives
import Synchronization

/// Answers by the keys of their requests. Bounded in number and in bytes.
final class Replays: Sendable {
    struct Key: Hashable, Sendable {
        /// The name of the client's API key.
        var client: String
        var text: String
    }

    enum Claim: Sendable {
        /// Nobody has asked that.
        case first(Replay)
        /// The same request runs or was answered.
        case again(Replay)
        /// Another request had the key.
        case other
        /// Every entry belongs to a task that runs.
        case full
    }

    private struct Entry {
        var replay: Replay
        var bytes = 0
        /// Its answer is not kept.
        var isLost = false
        var endedAt: NIODeadline?
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        /// The oldest first.
        var order: [Key] = []
        var bytes = 0

        mutating func remove(_ key: Key) {
            bytes -= entries.removeValue(forKey: key)?.bytes ?? 0
            order.removeAll { $0 == key }
        }
    }

    static let countMax = 1_024
    static let bytesMax = 64 << 20
    /// Of one answer.
    static let answerBytesMax = 4 << 20
    /// Longer keys are refused.
    static let keyBytesMax = 255
    /// A task whose clients have all gone runs on for so long: they may be about to ask again.
    static let waits = TimeAmount.seconds(30)

    private let state = Mutex(State())
    let keeps: TimeAmount

    /// - Parameter keeps: for how long an answer is kept after its end.
    init(keeps: Interval) { self.keeps = .nanoseconds(keeps.nanoseconds) }

    var count: Int { state.withLock { $0.entries.count } }
    var bytes: Int { state.withLock { $0.bytes } }

    func claim(_ key: Key, _ digest: Bytes32, now: NIODeadline) -> Claim {
        state.withLock { state in
            Self.purge(&state, before: now - keeps)
            if let known = state.entries[key]?.replay {
                return known.digest == digest ? .again(known) : .other
            }
            if state.entries.count >= Self.countMax {
                guard let oldest = state.order.first(where: { state.entries[$0]?.endedAt != nil }) else {
                    return .full
                }
                state.remove(oldest)
            }
            let replay = Replay(digest: digest)
            state.entries[key] = Entry(replay: replay)
            state.order.append(key)
            return .first(replay)
        }
    }

    /// An answer grows; returns whether it is still kept. The oldest answers leave for newer ones.
    func grow(_ key: Key, by count: Int) -> Bool {
        state.withLock { state in
            guard let entry = state.entries[key], !entry.isLost else { return false }
            if entry.bytes + count <= Self.answerBytesMax {
                for old in state.order where state.bytes + count > Self.bytesMax {
                    if state.entries[old]?.endedAt != nil { Self.lose(old, &state) }
                }
                if state.bytes + count <= Self.bytesMax {
                    state.entries[key]?.bytes += count
                    state.bytes += count
                    return true
                }
            }
            Self.lose(key, &state)
            return false
        }
    }

    private static func lose(_ key: Key, _ state: inout State) {
        guard var entry = state.entries[key], !entry.isLost else { return }
        state.bytes -= entry.bytes
        (entry.bytes, entry.isLost) = (0, true)
        state.entries[key] = entry
        if entry.endedAt != nil { entry.replay.drop() }
    }

    /// A task has ended. One that failed is forgotten: the client may ask again.
    func ended(_ key: Key, succeeded: Bool, now: NIODeadline) {
        state.withLock { state in
            if succeeded { state.entries[key]?.endedAt = now } else { state.remove(key) }
        }
    }

    func purge(now: NIODeadline) { state.withLock { Self.purge(&$0, before: now - keeps) } }

    private static func purge(_ state: inout State, before: NIODeadline) {
        for key in state.order {
            guard let endedAt = state.entries[key]?.endedAt else { continue }
            guard endedAt <= before else { continue }
            state.remove(key)
        }
    }
}

extension GatewayResponder {
    /// Answers a task, or a request with the key of one again.
    func answerOnce(_ kind: ClientRequest.Kind, _ request: Request) async -> Response {
        guard let text = request["idempotency-key"] else { return await answer(kind, request) }
        guard (1...Replays.keyBytesMax).contains(text.utf8.count) else {
            return Reply.error(
                .invalid(
                    "`Idempotency-Key` has \(text.utf8.count) bytes: give 1 to \(Replays.keyBytesMax), such as a UUID.",
                    param: "Idempotency-Key", code: "invalid_idempotency_key"))
        }
        let held = request.body?.take()
        let path = Array(request.path.utf8)
        let digest = await LargeWork.run(bytes: held?.bytes.count ?? 0) {
            ClientKey.digest(of: path + [0] + (held?.bytes ?? []))
        }
        var request = request
        request.body = held.map { ReceivedBody($0) }
        let key = Replays.Key(client: admission.caller(of: request)?.name ?? "", text: text)
        switch replays.claim(key, digest, now: .now()) {
        case .first(let replay):
            guard let reader = replay.attach() else { return Reply.gone }
            produce(kind, request, key, replay)
            return await read(replay, reader, request.channel.eventLoop)
        case .again(let replay):
            guard let reader = replay.attach() else {
                return Reply.error(
                    .invalid(
                        "The request with this `Idempotency-Key` was answered, and its answer is too large to be kept."
                            + " Ask with another key for a new one.", param: "Idempotency-Key",
                        code: "idempotency_answer_gone"), status: .conflict)
            }
            var response = await read(replay, reader, request.channel.eventLoop)
            response.headers.add(name: "idempotent-replayed", value: "true")
            return response
        case .other:
            return Reply.error(
                .invalid(
                    "This `Idempotency-Key` belongs to another request of the last ten minutes. Give each request its"
                        + " own.", param: "Idempotency-Key", code: "idempotency_key_reused"),
                status: .unprocessableEntity)
        case .full:
            return Reply.error(
                ErrorBody(
                    message:
                        "Too many requests with an `Idempotency-Key` run at this node. Try again in a moment.",
                    type: "rate_limit_error", code: "rate_limited"), status: .tooManyRequests,
                retryAfter: .seconds(1))
        }
    }

    /// Has the task answered, whoever reads it.
    private func produce(
        _ kind: ClientRequest.Kind, _ request: Request, _ key: Replays.Key, _ replay: Replay
    ) {
        let loop = request.channel.eventLoop
        let task = Task(executorPreference: Gateway.executor) {
            let response = await answer(kind, request)
            let writer = ResponseWriter(replay: replay, key: key, of: replays)
            var (succeeded, isCut) = (response.status == .ok, false)
            switch response.body {
            case .whole(let bytes):
                replay.begin(.init(status: response.status, headers: response.headers, isStream: false))
                do { try await writer.write(bytes) } catch { isCut = true }
            case .stream(let write):
                replay.begin(.init(status: response.status, headers: response.headers, isStream: true))
                do { try await write(writer) } catch { isCut = true }
                succeeded = replay.ends(with: Self.streamEnd)
            }
            replay.finish(failed: isCut)
            replays.ended(key, succeeded: succeeded && !isCut, now: .now())
            _ = loop.scheduleTask(in: replays.keeps) { replays.purge(now: .now()) }
        }
        replay.runs(task)
    }

    private static let streamEnd = Array("data: [DONE]\n\n".utf8)

    private func read(_ replay: Replay, _ reader: Int, _ loop: any EventLoop) async -> Response {
        @Sendable func leave() {
            if replay.detach(reader) { return }
            _ = loop.scheduleTask(in: Replays.waits) { replay.cancelIfAbandoned() }
        }
        guard let head = await replay.head(for: reader) else {
            leave()
            return Reply.gone
        }
        if head.isStream {
            return Response(
                status: head.status, headers: head.headers,
                body: .stream { writer in
                    defer { leave() }
                    while true {
                        switch await replay.next(reader) {
                        case .bytes(let bytes, let isLast):
                            try await writer.write(bytes, isLast: isLast)
                            if isLast { return }
                        case .end: return
                        case .failed: throw CancellationError()
                        }
                    }
                })
        }
        defer { leave() }
        var body: [UInt8] = []
        while true {
            switch await replay.next(reader) {
            case .bytes(let bytes, let isLast):
                body += bytes
                if isLast { return Response(status: head.status, headers: head.headers, body: .whole(body)) }
            case .end: return Response(status: head.status, headers: head.headers, body: .whole(body))
            case .failed: return Reply.gone
            }
        }
    }
}
