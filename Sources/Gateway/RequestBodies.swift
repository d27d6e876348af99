// The bodies of requests on their way into memory, each with a bound and all together with another.

import HTTPTypes
import Hummingbird
import NIOCore
import OpenAIFormat
import Primitives
import Synchronization

/// The bytes of all bodies that are being received or wait to be read.
final class BodyBudget: Sendable {
    /// Of each body these don't count, so that ordinary requests get in while large ones use the budget up.
    static let freeBytes = 64 << 10

    let bytesMax: Int
    private let taken = Mutex(0)

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    var bytes: Int { taken.withLock { $0 } }

    fileprivate func take(_ bytes: Int) -> Bool {
        taken.withLock { taken in
            guard taken + bytes <= bytesMax else { return false }
            taken += bytes
            return true
        }
    }

    fileprivate func giveBack(_ bytes: Int) { taken.withLock { $0 -= bytes } }
}

/// One body's part of the budget, until this value is gone.
final class BodyShare: Sendable {
    private let budget: BodyBudget
    private let counted = Mutex(0)

    init(of budget: BodyBudget) { self.budget = budget }

    /// Returns false, and takes nothing, when the budget has no room for a body of this size.
    func grow(to size: Int) -> Bool {
        counted.withLock { counted in
            let more = max(0, size - BodyBudget.freeBytes) - counted
            guard more > 0 else { return true }
            guard budget.take(more) else { return false }
            counted += more
            return true
        }
    }

    deinit { budget.giveBack(counted.withLock { $0 }) }
}

/// A complete body. It counts in the budget while it is held.
struct HeldBody: Sendable {
    var bytes: [UInt8]
    let share: BodyShare
}

/// Why a body was not taken.
enum BodyRefusal: Error {
    case tooLarge
    case tooMany
    case overdue
}

extension GatewayResponder {
    /// Receives and reads a request; nil when the client has gone. Its body counts in the budget until it has been read.
    func read(
        _ kind: ClientRequest.Kind, _ request: Request, _ channel: any Channel
    ) async throws -> Result<ClientRequest, ErrorBody>? {
        let held = try await body(of: request)
        return await LargeWork.run(bytes: held.bytes.count) {
            // It may have waited long for its turn.
            guard channel.isActive else { return nil }
            return Result { () throws(ErrorBody) in try ClientRequest(kind: kind, body: held.bytes) }
        }
    }

    /// Returns the whole body, or throws a `BodyRefusal`. Never holds more than `bodyBytesMax`: Hummingbird discards the
    /// rest after the answer.
    func body(of request: Request) async throws -> HeldBody {
        let announced = request.headers[.contentLength].flatMap(Int.init) ?? 0
        // With `Connection: close` Hummingbird discards nothing, and then it and a client that is still
        // writing would wait for each other.
        let readsAway = request.headers[.connection]?.lowercased() == "close"
        let share = BodyShare(of: bodies)
        var refusal: BodyRefusal? = announced > configuration.bodyBytesMax ? .tooLarge : nil
        if let refusal, !readsAway { throw refusal }
        var bytes: [UInt8] = []
        do {
            for try await part in request.body where refusal == nil {
                let size = bytes.count + part.readableBytes
                refusal =
                    size > configuration.bodyBytesMax ? .tooLarge : share.grow(to: size) ? nil : .tooMany
                if let refusal {
                    guard readsAway else { throw refusal }
                    bytes = []
                    continue
                }
                if bytes.isEmpty { bytes.reserveCapacity(max(0, min(announced, configuration.bodyBytesMax))) }
                bytes.append(contentsOf: part.readableBytesView)
            }
        } catch is BodyOverdue {
            throw BodyRefusal.overdue
        }
        if let refusal { throw refusal }
        return HeldBody(bytes: bytes, share: share)
    }

    func response(to refusal: BodyRefusal) -> Response {
        switch refusal {
        case .tooLarge:
            return Reply.error(
                .invalid(
                    "The body is larger than \(Self.size(configuration.bodyBytesMax)), the most that this node takes.",
                    code: "body_too_large"), status: .contentTooLarge)
        case .tooMany:
            return Reply.error(
                ErrorBody(
                    message:
                        "This node is receiving \(Self.size(bodies.bytesMax)) of other large requests. Send it again in a"
                        + " few seconds.", type: "rate_limit_error", code: "too_many_bodies"),
                status: .serviceUnavailable, retryAfter: .seconds(5))
        case .overdue:
            let seconds = configuration.bodyTime.milliseconds / 1_000
            var response = Reply.error(
                .invalid(
                    "The body did not arrive in time: it may take \(seconds) s, and a second more for each"
                        + " \(ConnectionGuard.bodyRate >> 10) KiB. Check the connection, and send it again.",
                    code: "body_timeout"), status: .requestTimeout, retryAfter: .seconds(1))
            response.headers[.connection] = "close"
            return response
        }
    }

    private static func size(_ bytes: Int) -> String {
        bytes >= 1 << 20 ? "\(bytes >> 20) MiB" : "\(bytes) bytes"
    }
}
