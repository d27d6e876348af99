import Cryptography
import Foundation
import Primitives
import TestSupport
import Testing

@testable import Sessions

/// Noise_IK_25519_ChaChaPoly_BLAKE2b against published vectors.
@Suite struct NoiseTests {
    struct File: Decodable {
        var vectors: [Vector]
    }
    struct Vector: Decodable {
        var protocol_name: String
        var init_prologue: String
        var init_static: String
        var init_ephemeral: String
        var init_remote_static: String
        var resp_static: String
        var resp_ephemeral: String
        var handshake_hash: String
        var messages: [Message]
    }
    struct Message: Decodable {
        var payload: String
        var ciphertext: String
    }

    static let vectors: [Vector] = {
        guard let data = try? vectorFile("noise-ik.json"),
            let file = try? JSONDecoder().decode(File.self, from: data)
        else { return [] }
        return file.vectors
    }()

    private func ends(_ vector: Vector) -> (initiator: NoiseIK, responder: NoiseIK) {
        let start = NoiseSymmetricState(
            protocolName: vector.protocol_name, prologue: hex(vector.init_prologue))
        let initiator = NoiseIK(
            initiator: .init(secret: Secret32(hex32(vector.init_static))),
            to: hex32(vector.init_remote_static),
            start: start)
        let responder = NoiseIK(responder: .init(secret: Secret32(hex32(vector.resp_static))), start: start)
        return (initiator, responder)
    }

    @Test func thereAreVectors() { #expect(!Self.vectors.isEmpty) }

    @Test(arguments: vectors.indices) func thePublishedVectorsPass(_ index: Int) throws {
        let vector = Self.vectors[index]
        #expect(vector.protocol_name == NoiseIK.protocolName)
        var (initiator, responder) = ends(vector)

        var payload = hex(vector.messages[0].payload)
        var first = [UInt8](repeating: 0, count: 80) + payload + [UInt8](repeating: 0, count: 16)
        let wroteFirst = first.withUnsafeMutableBytes {
            initiator.writeFirst(
                $0, payloadCount: payload.count, ephemeral: Secret32(hex32(vector.init_ephemeral)))
        }
        #expect(wroteFirst)
        #expect(text(first) == vector.messages[0].ciphertext)
        let readFirst = first.withUnsafeMutableBytes { responder.readFirst($0) }
        #expect(Array(first[try #require(readFirst)]) == payload)
        #expect(responder.remoteStatic == Agreement.publicKey(of: Secret32(hex32(vector.init_static))))

        payload = hex(vector.messages[1].payload)
        var second = [UInt8](repeating: 0, count: 32) + payload + [UInt8](repeating: 0, count: 16)
        let wroteSecond = second.withUnsafeMutableBytes {
            responder.writeSecond(
                $0, payloadCount: payload.count, ephemeral: Secret32(hex32(vector.resp_ephemeral)))
        }
        #expect(wroteSecond)
        #expect(text(second) == vector.messages[1].ciphertext)
        let readSecond = second.withUnsafeMutableBytes { initiator.readSecond($0) }
        #expect(Array(second[try #require(readSecond)]) == payload)

        #expect(text(initiator.handshakeHash.bytes) == vector.handshake_hash)
        #expect(text(responder.handshakeHash.bytes) == vector.handshake_hash)
        let keys = initiator.split()
        for (index, message) in vector.messages.enumerated().dropFirst(2) {
            let payload = hex(message.payload)
            var bytes = payload + [UInt8](repeating: 0, count: 16)
            let key = index % 2 == 0 ? keys.initiator : keys.responder
            bytes.withUnsafeMutableBytes {
                Aead.seal($0, count: payload.count, key: key, counter: UInt64(index / 2 - 1))
            }
            #expect(text(bytes) == message.ciphertext)
        }
    }

    @Test(arguments: vectors.indices) func everyFlippedBitAndTruncationOfAHandshakeMessageIsRefused(
        _ index: Int
    ) {
        let vector = Self.vectors[index]
        let (initiator, responder) = ends(vector)
        let first = hex(vector.messages[0].ciphertext)
        func reads(_ bytes: [UInt8]) -> Bool {
            var copy = bytes
            var reader = responder
            return copy.withUnsafeMutableBytes { reader.readFirst($0) } != nil
        }
        #expect(reads(first))
        // X25519 ignores the ephemeral key's top bit, but the handshake hash does not.
        for bit in 0..<first.count * 8 {
            var flipped = first
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(!reads(flipped))
        }
        for length in 0..<first.count { #expect(!reads(Array(first.prefix(length)))) }
        _ = initiator
    }

    /// Noise §12.1 lets an implementation refuse an all-zero Diffie-Hellman result; ours does.
    @Test func anEphemeralKeyOfSmallOrderIsRefused() {
        let start = NoiseSymmetricState(protocolName: NoiseIK.protocolName, prologue: [])
        var responder = NoiseIK(responder: .init(secret: Secret32(Bytes32(1, 2, 3, 4))), start: start)
        var bytes = [UInt8](repeating: 0, count: 200)
        let range = bytes.withUnsafeMutableBytes { responder.readFirst($0) }
        #expect(range == nil)
    }
}
