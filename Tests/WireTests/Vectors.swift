import Foundation
import Primitives
import TestSupport
import Testing

@testable import Wire

/// One entry of Protocol/vectors/*.json.
struct Vector: Decodable, CustomTestStringConvertible {
    var name: String
    var type: String
    var hex: String?
    var canonical: String?
    var error: String?
    var fields: JSONValue?
    var padding: Int?
    var domain: String?
    var seed: String?
    var author: String?
    var body: String?
    var signature: String?

    var testDescription: String { name }

    private struct File: Decodable { var vectors: [Vector] }

    static func data(_ file: String) throws -> Data {
        try Data(contentsOf: projectFolder.appendingPathComponent("Protocol/vectors/\(file).json"))
    }

    static func load(_ file: String) throws -> [Vector] {
        try JSONDecoder().decode(File.self, from: data(file)).vectors
    }

    /// Every encoding in the vectors, with its type.
    static func everything() throws -> [(type: String, bytes: [UInt8])] {
        let whole = try ["envelopes", "frames", "tolerated", "refused"].flatMap { try load($0) }
        let records = try ["records", "unverified"].flatMap { try load($0) }
        return whole.map { ($0.type, WireTests.bytes($0.hex ?? "")) }
            + records.map { ($0.type, WireTests.bytes($0.body ?? "")) }
    }
}

/// Any value that has its own encoding.
enum Decoded: Hashable {
    case envelope(Envelope)
    case frame(Frame)
    case contact(Contact)
    case offer(Offer)
    case bid(Bid)
    case receipt(Receipt)
    case registration(Registration)

    init(_ type: String, _ bytes: [UInt8]) throws(WireError) {
        switch type {
        case "Envelope": self = .envelope(try Envelope(decoding: bytes))
        case "Frame": self = .frame(try Frame(decoding: bytes))
        case "Contact": self = .contact(try Contact(decoding: bytes))
        case "Offer": self = .offer(try Offer(decoding: bytes))
        case "Bid": self = .bid(try Bid(decoding: bytes))
        case "Receipt": self = .receipt(try Receipt(decoding: bytes))
        case "Registration": self = .registration(try Registration(decoding: bytes))
        default: preconditionFailure("no type \(type)")
        }
    }

    var type: String {
        switch self {
        case .envelope: "Envelope"
        case .frame: "Frame"
        case .contact: "Contact"
        case .offer: "Offer"
        case .bid: "Bid"
        case .receipt: "Receipt"
        case .registration: "Registration"
        }
    }

    func encoded() -> [UInt8] {
        switch self {
        case .envelope(let value): value.encoded()
        case .frame(let value): value.encoded()
        case .contact(let value): value.encoded()
        case .offer(let value): value.encoded()
        case .bid(let value): value.encoded()
        case .receipt(let value): value.encoded()
        case .registration(let value): value.encoded()
        }
    }

    var fields: JSONValue {
        switch self {
        case .envelope(let value): describe(value)
        case .frame(let value): describe(value)
        case .contact(let value): describe(value)
        case .offer(let value): describe(value)
        case .bid(let value): describe(value)
        case .receipt(let value): describe(value)
        case .registration(let value): describe(value)
        }
    }
}
