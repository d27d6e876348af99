/// One event of a stream: its name (empty unless the server gave one) and its data lines, joined by "\n".
public struct ServerSentEvent: Hashable, Sendable {
    public var name: String
    public var data: [UInt8]
    public init(name: String = "", data: [UInt8]) {
        self.name = name
        self.data = data
    }
}

/// Why a stream can't be parsed: always the server's fault.
public enum ServerSentEventsError: Error, Hashable, Sendable {
    /// A line, or the data of one event, is longer than the parser's limit.
    case tooLong
}

/// Parses `text/event-stream` (WHATWG HTML §9.2.6) from pieces of any size.
///
/// Two deviations, both for model servers. A field named `error` counts as an event of that name (llama.cpp
/// wrote `error: {…}`). Bytes in lines that are not a field are counted, so that the reader can tell a stream
/// of garbage from a quiet one. `id` and `retry` are ignored: nobody reconnects to a generation.
public struct ServerSentEvents: Sendable {
    /// Bytes of one line, and of one event's data. A delta is some 200 bytes; log-probabilities of a whole
    /// vocabulary reach a few hundred kB.
    public static let lengthMaxDefault = 1 << 20

    private let lengthMax: Int
    private var line: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var name = ""
    private var skipLineFeed = false
    private var atStart = true
    /// Bytes in lines that are not part of an event stream.
    public private(set) var ignoredBytes = 0

    public init(lengthMax: Int = Self.lengthMaxDefault) { self.lengthMax = lengthMax }

    /// Appends to `events` those that `bytes` complete. Throws when a line or an event is too long.
    public mutating func feed(
        _ bytes: UnsafeRawBufferPointer, into events: inout [ServerSentEvent]
    ) throws(ServerSentEventsError) {
        var start = 0
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == 0x0A || byte == 0x0D {
                if byte == 0x0A, skipLineFeed, index == start, line.isEmpty {
                    skipLineFeed = false
                } else {
                    try append(bytes[start..<index])
                    try endLine(into: &events)
                    skipLineFeed = byte == 0x0D
                }
                start = index + 1
            } else {
                skipLineFeed = false
            }
            index += 1
        }
        if start < bytes.count { try append(bytes[start..<bytes.count]) }
    }

    /// For whole arrays, in tests and fuzzing.
    public mutating func feed(
        _ bytes: [UInt8], into events: inout [ServerSentEvent]
    ) throws(ServerSentEventsError) {
        do {
            try bytes.withUnsafeBytes { try feed($0, into: &events) }
        } catch let error as ServerSentEventsError {
            throw error
        } catch {
            throw .tooLong
        }
    }

    private mutating func append(_ bytes: Slice<UnsafeRawBufferPointer>) throws(ServerSentEventsError) {
        guard bytes.count <= lengthMax - line.count else { throw .tooLong }
        line.append(contentsOf: bytes)
    }

    private mutating func endLine(into events: inout [ServerSentEvent]) throws(ServerSentEventsError) {
        defer { line.removeAll(keepingCapacity: true) }
        if atStart {
            atStart = false
            if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
        }
        guard !line.isEmpty else { return dispatch(into: &events) }
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.count
        guard colon > 0 else { return }  // a comment: servers ping with them
        var value = line[min(colon + 1, line.count)...]
        if value.first == 0x20 { value.removeFirst() }
        if Self.names(line[..<colon], "data") {
            guard value.count < lengthMax - data.count else { throw .tooLong }
            if hasData { data.append(0x0A) }
            data.append(contentsOf: value)
            hasData = true
        } else if Self.names(line[..<colon], "event") {
            name = String(decoding: value.prefix(64), as: UTF8.self)
        } else if Self.names(line[..<colon], "error") {
            name = "error"
            data = Array(value)
            hasData = true
        } else if !Self.names(line[..<colon], "id"), !Self.names(line[..<colon], "retry") {
            ignoredBytes += line.count
        }
    }

    private mutating func dispatch(into events: inout [ServerSentEvent]) {
        if hasData { events.append(ServerSentEvent(name: name, data: data)) }
        data.removeAll(keepingCapacity: false)
        hasData = false
        name = ""
    }

    private static func names(_ field: ArraySlice<UInt8>, _ word: StaticString) -> Bool {
        word.withUTF8Buffer { field.elementsEqual($0) }
    }
}
