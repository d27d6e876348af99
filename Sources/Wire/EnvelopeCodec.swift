import Primitives

/// The part of an envelope that can be read without understanding its message.
public struct EnvelopeHeader: Hashable, Sendable {
    public var request: UInt32
    public var reply: UInt32
    /// The message's field number: a known kind if there is one, else the last unknown one, else 0.
    public var kind: UInt32
}

extension Envelope {
    private static let paddingField: UInt32 = 15
    /// Lower field numbers are for what an envelope carries besides its message.
    private static let kindMin: UInt32 = 8

    /// Appends the canonical encoding, padded to at least `size` bytes. It may be two bytes longer, because
    /// the smallest padding takes three, but never exceeds `WireLimits.envelopeSizeMax`.
    public func encode(into bytes: inout [UInt8], paddedTo size: Int = 0) {
        let start = bytes.count
        var w = ProtoWriter(continuing: &bytes)
        w.uint(1, request)
        w.uint(2, reply)
        let beforeMessage = w.count
        message.write(&w)
        let lacking = min(size, WireLimits.envelopeSizeMax) - (w.count - start)
        if lacking > 0 {
            // Tag and length take two bytes, or three from 128 zeros on. Fields stay in ascending order.
            let zeros = lacking <= 129 ? max(1, lacking - 2) : max(128, lacking - 3)
            let position = message.kind > Self.paddingField ? beforeMessage : w.count
            let fits = w.count - start + zeros + (zeros < 128 ? 2 : 3) <= WireLimits.envelopeSizeMax
            if fits { w.insertZeros(Self.paddingField, zeros, at: position) }
        }
        bytes = w.bytes
    }

    public func encoded(paddedTo size: Int = 0) -> [UInt8] {
        var bytes: [UInt8] = []
        encode(into: &bytes, paddedTo: size)
        return bytes
    }

    /// Throws `.unknownKind` for a message of a later version; `header(of:)` then tells what to answer.
    public init(decoding bytes: RawSpan) throws(WireError) {
        guard bytes.byteCount <= WireLimits.envelopeSizeMax else { throw .tooLarge }
        var request: UInt32 = 0
        var reply: UInt32 = 0
        var message: Message?
        var sawUnknownKind = false
        var r = ProtoReader(bytes)
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(&request)
            case 2: r.read(&reply)
            case Self.paddingField: break
            default:
                guard r.field >= Self.kindMin, let inner = r.message else { continue }
                if let known = try Message(kind: r.field, inner, bytes) {
                    message = known
                } else {
                    sawUnknownKind = true
                }
            }
        }
        guard let message else { throw sawUnknownKind ? .unknownKind : .missingField }
        self.init(request: request, reply: reply, message: message)
    }

    public init(decoding bytes: [UInt8]) throws(WireError) { try self.init(decoding: bytes.span.bytes) }

    /// The request and reply numbers and the message's field number, without reading the message.
    public static func header(of bytes: RawSpan) throws(WireError) -> EnvelopeHeader {
        guard bytes.byteCount <= WireLimits.envelopeSizeMax else { throw .tooLarge }
        var header = EnvelopeHeader(request: 0, reply: 0, kind: 0)
        var known = false
        var r = ProtoReader(bytes)
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(&header.request)
            case 2: r.read(&header.reply)
            case Self.paddingField: break
            default:
                guard r.field >= Self.kindMin, r.message != nil else { continue }
                let isKnown = Message.isKnown(r.field)
                if isKnown || !known { header.kind = r.field }
                known = known || isKnown
            }
        }
        return header
    }

    public static func header(of bytes: [UInt8]) throws(WireError) -> EnvelopeHeader {
        try header(of: bytes.span.bytes)
    }
}
