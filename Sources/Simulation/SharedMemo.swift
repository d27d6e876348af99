import Primitives
import Synchronization
import Wire

/// Records that some peer of a world has verified. A world runs on one thread; the lock is needed because
/// peers are `Sendable`, but is never contended.
final class SharedMemo: VerifiedMemo {
    /// Above this many, everything is dropped: records still in use soon return.
    private static let recordsMax = 1 << 20

    private let known = Mutex<[SignedRecord: any AnyObject & Sendable]>([:])

    func find<R: Record>(_ signed: SignedRecord) -> Verified<R>? {
        known.withLock { $0[signed] as? Verified<R> }
    }

    func keep<R: Record>(_ verified: Verified<R>) {
        known.withLock {
            if $0.count >= Self.recordsMax { $0.removeAll() }
            $0[verified.signed] = verified
        }
    }
}
