import Cryptography
import Primitives
import Wire

/// A version of an offer that came faster than the rates allow, until it may be taken.
struct DelayedVersion: Sendable {
    let signed: SignedRecord
    let sequence: UInt64
    let from: PeerAddress
    /// Set when its signature was checked: always, unless its publisher sent it itself.
    let checked: Verified<Offer>?

    /// Whether `offer` counts more, by the rule for versions that are held.
    func givesWay(to offer: Offer, _ body: [UInt8]) -> Bool {
        if offer.sequence != sequence { return offer.sequence > sequence }
        return body != signed.body && Blake2b.hash(body) < Blake2b.hash(signed.body)
    }
}
