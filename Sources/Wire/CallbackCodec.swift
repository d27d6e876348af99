import Primitives

// CALLBACK_REQUEST, CALLBACK_ORDER, CALLBACK_ANSWER and CALLBACK: `Protocol/messages.proto`, Reachability.

extension CallbackRequest {
    func write(_ w: inout ProtoWriter) {
        w.fixed64(1, nonce)
        w.uint(2, UInt32(port))
        w.bool(3, channel)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var nonce: UInt64 = 0
        var port: UInt32 = 0
        var channel = false
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(fixed64: &nonce)
            case 2: r.read(&port)
            case 3: r.read(&channel)
            default: break
            }
        }
        guard nonce != 0 else { throw .missingField }
        guard let port = UInt16(exactly: port), port != 0 else { throw .outOfRange }
        self.init(nonce: nonce, port: port, channel: channel)
    }
}

extension CallbackOrder {
    func write(_ w: inout ProtoWriter) {
        w.bytes32(1, publicKey.value)
        w.message(2) { endpoint.write(&$0) }
        w.fixed64(3, nonce)
        w.bool(4, channel)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var key: Bytes32?
        var endpoint: Endpoint?
        var nonce: UInt64 = 0
        var channel = false
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&key, bytes)
            case 2: if let inner = r.message { endpoint = try Endpoint(inner, bytes) }
            case 3: r.read(fixed64: &nonce)
            case 4: r.read(&channel)
            default: break
            }
        }
        guard let key, let endpoint, nonce != 0 else { throw .missingField }
        self.init(publicKey: PublicKey(key), endpoint: endpoint, nonce: nonce, channel: channel)
    }
}

extension DiscoveryMessage {
    static func readCallbackAnswer(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError)
        -> DiscoveryMessage
    {
        var r = reader
        var nonce: UInt64 = 0
        var called: Endpoint?
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(fixed64: &nonce)
            case 2: if let inner = r.message { called = try Endpoint(inner, bytes) }
            default: break
            }
        }
        guard nonce != 0 else { throw .missingField }
        return .callbackAnswer(nonce: nonce, called: called)
    }

    static func readCallback(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) -> DiscoveryMessage {
        var r = reader
        var nonce: UInt64 = 0
        while try r.next(bytes) {
            if r.field == 1 { r.read(fixed64: &nonce) }
        }
        guard nonce != 0 else { throw .missingField }
        return .callback(nonce: nonce)
    }
}
