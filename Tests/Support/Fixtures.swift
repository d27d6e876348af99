import Cryptography
import Foundation
import Primitives
import Wire

extension Identity {
    /// Node `number`'s key pair, the same in every test.
    package static func ofNode(_ number: Int) -> Identity {
        made.indices.contains(number) ? made[number] : make(number)
    }

    /// A key pair costs more than a datagram: those of the lower numbers are made once for the whole run.
    private static let made = (0..<600).map(make)

    private static func make(_ number: Int) -> Identity { Identity(seed: Bytes32(7, UInt64(number), 0, 0)) }
}

extension Contact {
    /// A contact as its node signs it.
    package static func signed(
        by identity: Identity, at endpoints: [Endpoint], sequence: UInt64 = 1,
        reachability: Reachability = .direct
    ) -> Verified<Contact> {
        let contact = Contact(
            publicKey: identity.publicKey, endpoints: endpoints, reachability: reachability,
            sequence: sequence,
            issuedAt: WallTime(milliseconds: 1_700_000_000_000), name: "node")
        return Verified(signing: contact, with: identity)
    }
}

/// The project's folder.
package let projectFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

// Published vectors are written in hexadecimal.

package func hex(_ text: String) -> [UInt8] {
    var digits = text.compactMap { $0.hexDigitValue.map(UInt8.init) }[...]
    var bytes: [UInt8] = []
    while let high = digits.popFirst(), let low = digits.popFirst() { bytes.append(high << 4 | low) }
    return bytes
}

package func hex32(_ text: String) -> Bytes32 { Bytes32(hex(text)) ?? .zero }

package func text(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
