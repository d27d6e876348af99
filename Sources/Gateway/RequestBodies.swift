// The bodies of requests on their way into memory, each with a bound and all together with another.

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

/// A body, as far as it has arrived. It counts in the budget while it is held.
struct HeldBody: Sendable {
    private(set) var bytes: [UInt8] = []
    /// Bytes that have arrived, held or not.
    var count = 0
    private let share: BodyShare

    init(of budget: BodyBudget, count: Int = 0) {
        share = BodyShare(of: budget)
        self.count = count
    }

    /// Returns why the body is refused, if it is. Never holds more than `max`. What isn't kept is only counted.
    mutating func append(_ part: ByteBuffer, announced: Int, max: Int, isKept: Bool) -> BodyRefusal? {
        count += part.readableBytes
        guard count <= max else { return .tooLarge }
        guard isKept else { return nil }
        guard share.grow(to: count) else { return .tooMany }
        if bytes.isEmpty { bytes.reserveCapacity(min(announced, max)) }
        bytes.append(contentsOf: part.readableBytesView)
        return nil
    }
}

/// A complete body, until it is taken.
final class ReceivedBody: Sendable {
    private let held: Mutex<HeldBody?>
    init(_ body: HeldBody) { held = Mutex(body) }

    func take() -> HeldBody? {
        held.withLock { held in
            defer { held = nil }
            return held
        }
    }
}

/// Why a body was not taken.
enum BodyRefusal {
    case tooLarge
    case tooMany
    case overdue
}

extension GatewayResponder {
    /// Reads the request; nil when the client has gone. Its body counts in the budget until it has been read.
    func read(_ kind: ClientRequest.Kind, _ request: Request) async -> Result<ClientRequest, ErrorBody>? {
        let extraFields = terms.now.extraFields
        let (channel, body) = (request.channel, request.body?.take())
        let comesBack = request["idempotency-key"] != nil
        return await LargeWork.run(bytes: body?.bytes.count ?? 0) {
            // It may have waited long for its turn.
            guard channel.isActive || comesBack else { return nil }
            return Result { () throws(ErrorBody) in
                try ClientRequest(kind: kind, body: body?.bytes ?? [], extraFields: extraFields)
            }
        }
    }
}
