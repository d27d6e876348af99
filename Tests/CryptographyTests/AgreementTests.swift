import Primitives
import TestSupport
import Testing

@testable import Cryptography

/// X25519 (RFC 7748 §5.2, §6.1) and the conversion of identities.
@Suite struct AgreementTests {
    @Test func multipliesAsRFC7748Does() throws {
        let vectors = [
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"
            ),
        ]
        for (scalar, point, result) in vectors {
            let shared = try #require(Agreement.shared(Secret32(hex32(scalar)), hex32(point)))
            #expect(text(shared.value.bytes) == result)
        }
    }

    @Test func bothEndsAgreeAsInRFC7748() throws {
        let alice = Secret32(hex32("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
        let bob = Secret32(hex32("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
        let alicePublic = Agreement.publicKey(of: alice)
        let bobPublic = Agreement.publicKey(of: bob)
        #expect(text(alicePublic.bytes) == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        #expect(text(bobPublic.bytes) == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        let shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        #expect(text(try #require(Agreement.shared(alice, bobPublic)).value.bytes) == shared)
        #expect(text(try #require(Agreement.shared(bob, alicePublic)).value.bytes) == shared)
    }

    /// RFC 7748 §6.1: an all-zero result, which small-order points produce, must be refused.
    @Test func pointsOfSmallOrderGiveNothing() {
        let points = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ]
        for point in points { #expect(Agreement.shared(Secret32(Bytes32(1, 2, 3, 4)), hex32(point)) == nil) }
    }

    @Test func anIdentitysSecretBelongsToItsConvertedKey() throws {
        for seed in 0..<32 as Range<UInt64> {
            let identity = Identity(seed: Bytes32(seed, 7, 7, 7))
            let key = try #require(identity.publicKey.agreementKey)
            #expect(Agreement.publicKey(of: identity.agreementSecret) == key)
        }
    }

    /// u = (1 + y) / (1 − y) mod p, computed with Python's integers from RFC 8032's first key.
    @Test func theConversionIsTheBirationalMap() throws {
        let identity = Identity(
            seed: hex32("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
        let key = try #require(identity.publicKey.agreementKey)
        #expect(text(key.bytes) == "d85e07ec22b0ad881537c2f44d662d1a143cf830c57aca4305d85c7a90f6b62e")
    }
}
