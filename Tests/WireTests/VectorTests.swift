import Cryptography
import Foundation
import Primitives
import Testing

@testable import Wire

/// Replays Protocol/vectors, which Google's protobuf and PyNaCl made.
@Suite struct VectorTests {
    @Test(arguments: ["envelopes", "frames"])
    func canonicalEncodingsAreReadAndWrittenAsGoogleDoes(file: String) throws {
        for vector in try Vector.load(file) {
            let given = bytes(vector.hex)
            let decoded = try Decoded(vector.type, given)
            #expect(decoded.fields == vector.fields, "\(vector.name)")
            if case .envelope(let envelope) = decoded, let zeros = vector.padding, zeros > 0 {
                let padded = envelope.encoded(paddedTo: given.count)
                #expect(hex(padded) == vector.hex, "\(vector.name)")
            } else {
                #expect(hex(decoded.encoded()) == vector.hex, "\(vector.name)")
            }
        }
    }

    @Test func recordsAreReadVerifiedAndSignedAlike() throws {
        for vector in try Vector.load("records") {
            switch vector.type {
            case "Contact": try check(Contact.self, vector)
            case "Offer": try check(Offer.self, vector)
            case "Bid": try check(Bid.self, vector)
            case "Registration": try check(Registration.self, vector)
            default: try check(Receipt.self, vector)
            }
        }
    }

    private func check<R: Record>(_ type: R.Type, _ vector: Vector) throws {
        let body = bytes(vector.body)
        let signature = try #require(Signature(bytes(vector.signature)))
        let verified = try Verified<R>(checking: SignedRecord(body: body, signature: signature))
        #expect(verified.record.author.value.bytes == bytes(vector.author))
        #expect(try Decoded(vector.type, body).fields == vector.fields, "\(vector.name)")
        #expect(verified.record.encoded() == body, "\(vector.name)")
        let identity = Identity(seed: try #require(Bytes32(bytes(vector.seed))))
        #expect(
            Verified(signing: verified.record, with: identity).signed == verified.signed, "\(vector.name)")
        #expect(body.count <= R.bodySizeMax)
    }

    @Test func badSignaturesAreRefused() throws {
        for vector in try Vector.load("unverified") {
            let signature = try #require(Signature(bytes(vector.signature)))
            let signed = SignedRecord(body: bytes(vector.body), signature: signature)
            _ = try Contact(decoding: signed.body)
            #expect(throws: WireError.badSignature, "\(vector.name)") {
                try Verified<Contact>(checking: signed)
            }
        }
    }

    @Test func fieldsOfLaterVersionsStayUnderTheSignature() throws {
        let identity = Identity(seed: Bytes32(1, 2, 3, 4))
        let body = Contact(publicKey: identity.publicKey).encoded() + [0x98, 0x06, 0x07]
        let signature = identity.sign(Array("starling contact\0".utf8) + body)
        let verified = try Verified<Contact>(checking: SignedRecord(body: body, signature: signature))
        let message = Envelope(message: .discovery(.found(contacts: [verified.signed])))
        #expect(try Envelope(decoding: message.encoded()) == message)
        #expect(verified.signed.body == body)
    }

    @Test func oddEncodingsMeanWhatTheVectorSays() throws {
        for vector in try Vector.load("tolerated") {
            let decoded = try Decoded(vector.type, bytes(vector.hex))
            #expect(decoded.fields == vector.fields, "\(vector.name)")
            #expect(hex(decoded.encoded()) == vector.canonical, "\(vector.name)")
        }
    }

    @Test func badBytesAreRefusedUnderTheirName() throws {
        for vector in try Vector.load("refused") {
            let given = bytes(vector.hex)
            do {
                _ = try Decoded(vector.type, given)
                Issue.record("\(vector.name): accepted")
            } catch {
                #expect(error.rawValue == vector.error, "\(vector.name)")
            }
        }
    }

    @Test func idsAreThoseOfTheVectors() throws {
        struct File: Decodable {
            struct Entry: Decodable {
                var id: String
                var public_key: String?
                var model: String?
            }
            struct Group: Decodable {
                var kind: String
                var entries: [Entry]
            }
            var vectors: [Group]
        }
        for group in try JSONDecoder().decode(File.self, from: Vector.data("ids")).vectors {
            for entry in group.entries {
                let key = Bytes32(bytes(entry.public_key ?? "")).map(PublicKey.init)
                switch group.kind {
                case "node": #expect(hex(NodeID(of: try #require(key)).value.bytes) == entry.id)
                case "topic": #expect(hex(TopicID(model: try #require(entry.model)).value.bytes) == entry.id)
                default:
                    let id = Offer.shortID(key: try #require(key), model: try #require(entry.model))
                    #expect(id == UInt64(entry.id, radix: 16))
                }
            }
        }
    }
}
