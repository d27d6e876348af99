import Primitives
import TestSupport
import Testing

@testable import Cryptography

/// Ed25519 as in RFC 8032, and what must be refused.
@Suite struct SignatureTests {
    /// RFC 8032 §7.1: seed, public key, message, signature.
    static let vectors: [(String, String, String, String)] = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ]

    @Test(arguments: vectors.indices) func signsAsRFC8032Does(_ index: Int) throws {
        let (seed, publicKey, message, signature) = Self.vectors[index]
        let identity = Identity(seed: hex32(seed))
        #expect(text(identity.publicKey.value.bytes) == publicKey)
        #expect(text(identity.sign(hex(message)).bytes) == signature)
        let parsed = try #require(Signature(hex(signature)))
        #expect(identity.publicKey.verifies(parsed, of: hex(message)))
        #expect(!identity.publicKey.verifies(parsed, of: hex(message) + [0]))
    }

    @Test func everyFlippedBitOfASignatureIsRefused() throws {
        let identity = Identity(seed: Bytes32(1, 2, 3, 4))
        let bytes = identity.sign([1, 2, 3]).bytes
        for bit in 0..<512 {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(!identity.publicKey.verifies(try #require(Signature(flipped)), of: [1, 2, 3]))
        }
    }

    /// RFC 8032 §5.1.7: S must be below the group order, or anyone could make a second signature from a valid
    /// one.
    @Test func aSignatureWithTheGroupOrderAddedIsRefused() throws {
        let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
        let identity = Identity(seed: Bytes32(1, 2, 3, 4))
        var bytes = identity.sign([7]).bytes
        var carry = 0
        for index in 0..<32 {
            let sum = Int(bytes[32 + index]) + Int(order[index]) + carry
            bytes[32 + index] = UInt8(sum & 255)
            carry = sum >> 8
        }
        #expect(!identity.publicKey.verifies(try #require(Signature(bytes)), of: [7]))
    }

    /// The encodings of the eight points of small order, and the non-canonical ones of some.
    static let smallOrder = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ]

    @Test(arguments: smallOrder) func keysOfSmallOrderAreRefusedEverywhere(_ encoding: String) throws {
        let key = PublicKey(hex32(encoding))
        #expect(key.agreementKey == nil)
        // With such a key, R = identity or R = key and S = 0 pass a verifier that doesn't check.
        for r in ["0100000000000000000000000000000000000000000000000000000000000000", encoding] {
            let forged = Signature(r: hex32(r), s: .zero)
            for message in [[], [1], [2], [3], [4]] as [[UInt8]] {
                #expect(!key.verifies(forged, of: message))
            }
        }
    }

    @Test func aSignatureWhoseRIsOfSmallOrderIsRefused() {
        let identity = Identity(seed: Bytes32(9, 9, 9, 9))
        for encoding in Self.smallOrder {
            #expect(!identity.publicKey.verifies(Signature(r: hex32(encoding), s: .zero), of: [1]))
        }
    }

    @Test func onlyCanonicalEncodingsAreKeys() {
        #expect(
            PublicKey(hex32("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")).isCanonical)
        for lowest in 0xed...0xff {
            for top in ["7f", "ff"] {
                let key = PublicKey(
                    hex32(String(lowest, radix: 16) + String(repeating: "ff", count: 30) + top))
                #expect(!key.isCanonical)
                #expect(key.agreementKey == nil)
            }
        }
        for seed in 0..<64 as Range<UInt64> {
            #expect(Identity(seed: Bytes32(seed, 0, 0, 1)).publicKey.isCanonical)
        }
    }
}
