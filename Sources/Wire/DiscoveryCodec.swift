import Primitives

extension DiscoveryMessage {
    public enum Kind: UInt32, Sendable {
        case ping = 8, pong, find, found
        case register = 32, registered, get, providers
        case callbackRequest = 40, callbackOrder, callbackAnswer, callback
    }

    public var kind: Kind {
        switch self {
        case .ping: .ping
        case .pong: .pong
        case .find: .find
        case .found: .found
        case .register: .register
        case .registered: .registered
        case .get: .get
        case .providers: .providers
        case .callbackRequest: .callbackRequest
        case .callbackOrder: .callbackOrder
        case .callbackAnswer: .callbackAnswer
        case .callback: .callback
        }
    }

    func write(_ w: inout ProtoWriter) {
        switch self {
        case .found, .register, .registered, .providers:
            w.message(kind.rawValue, expecting: 128) { writeContent(&$0) }
        case .ping, .pong, .find, .get, .callbackRequest, .callbackOrder, .callbackAnswer, .callback:
            w.message(kind.rawValue) { writeContent(&$0) }
        }
    }

    private func writeContent(_ w: inout ProtoWriter) {
        switch self {
        case .ping(let contact, let known):
            if let contact { w.record(1, contact) }
            w.uint(2, known)
        case .pong(let contact, let observed):
            if let contact { w.record(1, contact) }
            if let observed { w.message(2) { observed.write(&$0) } }
        case .find(let target): w.bytes32(1, target)
        case .found(let contacts): w.records(1, contacts.prefix(WireLimits.foundContactsMax))
        case .register(let register): register.write(&w)
        case .registered(let registered): registered.write(&w)
        case .get(let topic, let start):
            w.bytes32(1, topic.value)
            w.uint(2, start)
        case .providers(let providers): providers.write(&w)
        case .callbackRequest(let request): request.write(&w)
        case .callbackOrder(let order): order.write(&w)
        case .callbackAnswer(let nonce, let called):
            w.fixed64(1, nonce)
            if let called { w.message(2) { called.write(&$0) } }
        case .callback(let nonce): w.fixed64(1, nonce)
        }
    }

    init(_ kind: Kind, _ r: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        switch kind {
        case .ping: self = try .readPing(r, bytes)
        case .pong: self = try .readPong(r, bytes)
        case .find: self = try .readFind(r, bytes)
        case .found: self = .found(contacts: try r.records(bytes, countMax: WireLimits.foundContactsMax))
        case .register: self = .register(try Register(r, bytes))
        case .registered: self = .registered(try Registered(r, bytes))
        case .get: self = try .readGet(r, bytes)
        case .providers: self = .providers(try Providers(r, bytes))
        case .callbackRequest: self = .callbackRequest(try CallbackRequest(r, bytes))
        case .callbackOrder: self = .callbackOrder(try CallbackOrder(r, bytes))
        case .callbackAnswer: self = try .readCallbackAnswer(r, bytes)
        case .callback: self = try .readCallback(r, bytes)
        }
    }

    private static func readPing(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError)
        -> DiscoveryMessage
    {
        var r = reader
        var contact: SignedRecord?
        var known: UInt64 = 0
        while try r.next(bytes) {
            switch r.field {
            case 1: if let inner = r.message { contact = try SignedRecord(inner, bytes) }
            case 2: r.read(&known, clampedTo: WireLimits.sequenceMax)
            default: break
            }
        }
        return .ping(contact: contact, known: known)
    }

    private static func readPong(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError)
        -> DiscoveryMessage
    {
        var r = reader
        var contact: SignedRecord?
        var observed: Endpoint?
        while try r.next(bytes) {
            guard let inner = r.message else { continue }
            switch r.field {
            case 1: contact = try SignedRecord(inner, bytes)
            case 2: observed = try Endpoint(inner, bytes)
            default: break
            }
        }
        return .pong(contact: contact, observed: observed)
    }

    private static func readFind(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError)
        -> DiscoveryMessage
    {
        var r = reader
        var target: Bytes32?
        while try r.next(bytes) {
            if r.field == 1 { try r.read(&target, bytes) }
        }
        guard let target else { throw .missingField }
        return .find(target: target)
    }
}
