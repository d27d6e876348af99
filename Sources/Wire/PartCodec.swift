import Primitives

/// Parts that several messages share: signed records, endpoints, prices, speeds, weights.

extension SignedRecord {
    /// The size of the record as a field of a message, including tag and length: for filling a list up to
    /// `WireLimits.listSizeMax`.
    public var fieldSize: Int { 1 + 2 + 1 + 2 + body.count + 2 + 64 }

    func write(_ w: inout ProtoWriter) {
        w.data(1, body)
        w.tag(2, .bytes)
        w.varint(64)
        w.raw(signature.r)
        w.raw(signature.s)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var body: [UInt8] = []
        var signature: Signature?
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&body, bytes, max: WireLimits.recordBodyMax)
            case 2: try r.read(&signature, bytes)
            default: break
            }
        }
        guard !body.isEmpty, let signature else { throw .missingField }
        self.init(body: body, signature: signature)
    }
}

extension Endpoint {
    func write(_ w: inout ProtoWriter) {
        w.tag(1, .bytes)
        if let v4 = ipv4 {
            w.varint(4)
            w.raw(bigEndian: UInt64(v4), bytes: 4)
        } else {
            w.varint(16)
            w.raw(bigEndian: high, bytes: 8)
            w.raw(bigEndian: low, bytes: 8)
        }
        w.uint(2, UInt32(port))
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var address: [UInt8] = []
        var port: UInt32 = 0
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&address, bytes, max: 16)
            case 2: r.read(&port)
            default: break
            }
        }
        guard let port = UInt16(exactly: port), port != 0 else { throw .outOfRange }
        func word(_ slice: ArraySlice<UInt8>) -> UInt64 { slice.reduce(0) { $0 << 8 | UInt64($1) } }
        switch address.count {
        case 4: self.init(ipv4: UInt32(truncatingIfNeeded: word(address[...])), port: port)
        case 16:
            self.init(high: word(address[..<8]), low: word(address[8...]), port: port)
            if isIPv4 { throw .malformed }
        case 0: throw .missingField
        default: throw .malformed
        }
    }
}

extension Price {
    func write(_ w: inout ProtoWriter) {
        w.int(1, input)
        w.int(2, cachedInput)
        w.int(3, output)
    }

    /// Merges, like every nested message that is not repeated.
    mutating func read(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&input, max: WireLimits.priceMax)
            case 2: try r.read(&cachedInput, max: WireLimits.priceMax)
            case 3: try r.read(&output, max: WireLimits.priceMax)
            default: break
            }
        }
    }
}

extension Speed {
    func write(_ w: inout ProtoWriter) {
        w.uint(1, firstTokenMilliseconds)
        w.uint(2, millitokensPerSecond)
        w.uint(3, coldFirstTokenMilliseconds)
        w.uint(4, promptTokensPerSecond)
    }

    mutating func read(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(&firstTokenMilliseconds, clampedTo: WireLimits.durationMax)
            case 2: r.read(&millitokensPerSecond, clampedTo: WireLimits.millitokensPerSecondMax)
            case 3: r.read(&coldFirstTokenMilliseconds, clampedTo: WireLimits.durationMax)
            case 4: r.read(&promptTokensPerSecond, clampedTo: WireLimits.tokensMax)
            default: break
            }
        }
    }
}

extension Weights {
    func write(_ w: inout ProtoWriter) {
        w.uint(1, timePerSecond)
        w.uint(2, trustPower)
    }

    mutating func read(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(&timePerSecond, clampedTo: WireLimits.timeValueMax)
            case 2: r.read(&trustPower, clampedTo: WireLimits.trustPowerMax)
            default: break
            }
        }
    }
}

extension ProtoWriter {
    mutating func records(_ field: UInt32, _ records: ArraySlice<SignedRecord>) {
        for record in records { self.record(field, record) }
    }

    mutating func record(_ field: UInt32, _ record: SignedRecord) {
        message(field, expecting: record.body.count + 69) { record.write(&$0) }
    }

    mutating func endpoints(_ field: UInt32, _ endpoints: ArraySlice<Endpoint>) {
        for endpoint in endpoints { message(field) { endpoint.write(&$0) } }
    }
}

extension ProtoReader {
    func append(to records: inout [SignedRecord], _ bytes: RawSpan, countMax: Int) throws(WireError) {
        guard let message else { return }
        guard records.count < countMax else { throw .outOfRange }
        records.append(try SignedRecord(message, bytes))
    }

    func append(to endpoints: inout [Endpoint], _ bytes: RawSpan, countMax: Int) throws(WireError) {
        guard let message else { return }
        guard endpoints.count < countMax else { throw .outOfRange }
        endpoints.append(try Endpoint(message, bytes))
    }
}
