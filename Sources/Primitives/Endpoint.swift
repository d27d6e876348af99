/// An IP address and a port. IPv4 is stored as an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2), so that there
/// is one form to compare and hash.
public struct Endpoint: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var high: UInt64
    public var low: UInt64
    public var port: UInt16

    public init(high: UInt64, low: UInt64, port: UInt16) {
        self.high = high
        self.low = low
        self.port = port
    }

    /// `address` is four bytes in host order: 127.0.0.1 is 0x7f000001.
    public init(ipv4 address: UInt32, port: UInt16) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(address), port: port)
    }

    public static func loopback(_ port: UInt16) -> Endpoint { Endpoint(ipv4: 0x7f00_0001, port: port) }

    public var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }
    public var ipv4: UInt32? { isIPv4 ? UInt32(truncatingIfNeeded: low) : nil }
    public var isLoopback: Bool { isIPv4 ? low >> 24 & 0xff == 127 : high == 0 && low == 1 }
    /// 10/8, 172.16/12, 192.168/16, 169.254/16, fc00::/7, fe80::/10 and loopback: not reachable from the
    /// internet.
    public var isPrivate: Bool {
        if isLoopback { return true }
        guard let v4 = ipv4 else { return high >> 57 == 0xfc >> 1 || high >> 54 == 0xfe80 >> 6 }
        return v4 >> 24 == 10 || v4 >> 20 == 0xac1 || v4 >> 16 == 0xc0a8 || v4 >> 16 == 0xa9fe
    }
    /// False for port 0, the unspecified address, multicast and broadcast: no node can be reached there.
    public var isUnicast: Bool {
        guard port != 0 else { return false }
        guard let v4 = ipv4 else { return high >> 56 != 0xff && !(high == 0 && low == 0) }
        return v4 >> 24 != 0 && v4 >> 28 < 0xe
    }

    /// 32 bits that depend on all of it, for sets in which a rare collision does no harm. Not secret:
    /// somebody with many addresses can find two that collide.
    public var mixed: UInt32 {
        Self.mixed(high &* 0x9e37_79b9_7f4a_7c15 ^ low &* 0xbf58_476d_1ce4_e5b9 ^ UInt64(port))
    }

    /// The same for a word, such as a prefix.
    public static func mixed(_ word: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: ((word ^ word >> 32) &* 0x94d0_49bb_1331_11eb) >> 32)
    }

    /// The unit of address-diversity limits: the /24 of an IPv4 address, the /56 of an IPv6 one.
    public var prefix: UInt64 {
        isIPv4 ? 0xffff_0000_0000_0000 | low >> 8 & 0xff_ffff : high >> 8
    }

    /// The unit of the bounds per source: the prefix, or the endpoint itself if `countsEndpoints` is set or
    /// the address is loopback, which no remote node can have.
    public func group(countsEndpoints: Bool) -> UInt64 {
        countsEndpoints || isLoopback ? high &* 0x9e37_79b9_7f4a_7c15 ^ low << 16 ^ UInt64(port) : prefix
    }

    /// The unit of votes in which one operator must not have several: the /16 of an IPv4 address, the /32 of
    /// an IPv6 one, the least that a registry allocates.
    public var allocation: UInt64 {
        isIPv4 ? 0xffff_0000_0000_0000 | low >> 16 & 0xffff : high >> 32
    }

    public static func < (a: Endpoint, b: Endpoint) -> Bool {
        (a.high, a.low, a.port) < (b.high, b.low, b.port)
    }

    /// `127.0.0.1:7827`, `[2001:db8::1]:7827` (RFC 5952).
    public var description: String {
        isIPv4 ? "\(host):\(port)" : "[\(host)]:\(port)"
    }

    public var host: String {
        if let v4 = ipv4 { return "\(v4 >> 24).\(v4 >> 16 & 255).\(v4 >> 8 & 255).\(v4 & 255)" }
        let groups = (0..<8).map {
            UInt16(truncatingIfNeeded: ($0 < 4 ? high : low) >> (48 - 16 * UInt64($0 & 3)))
        }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8 && groups[end] == 0 { end += 1 }
            if end - start > max(1, best.count) { best = start..<end }
            start = max(end, start + 1)
        }
        func text(_ part: ArraySlice<UInt16>) -> String {
            part.map { String($0, radix: 16) }.joined(separator: ":")
        }
        return best.isEmpty
            ? text(groups[...]) : text(groups[..<best.lowerBound]) + "::" + text(groups[best.upperBound...])
    }

    /// Parses `a.b.c.d:port` or `[v6]:port`; nil for anything else, including host names.
    @_specialize(where Text == String)
    @_specialize(where Text == Substring)
    public init?<Text: StringProtocol>(_ text: Text) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        let host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            guard let words = Endpoint.ipv6(host.dropFirst().dropLast()) else { return nil }
            self.init(high: words.0, low: words.1, port: port)
        } else {
            let parts = host.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 4 else { return nil }
            var address: UInt32 = 0
            for part in parts {
                guard let byte = UInt8(part) else { return nil }
                address = address << 8 | UInt32(byte)
            }
            self.init(ipv4: address, port: port)
        }
    }

    private static func ipv6(_ text: some StringProtocol) -> (UInt64, UInt64)? {
        func groups(_ part: Substring) -> [UInt16]? {
            if part.isEmpty { return [] }
            var found: [UInt16] = []
            for piece in part.split(separator: ":", omittingEmptySubsequences: false) {
                guard !piece.isEmpty, piece.count <= 4, let group = UInt16(piece, radix: 16) else {
                    return nil
                }
                found.append(group)
            }
            return found
        }
        let whole = Substring(text)
        var all: [UInt16]
        if let gap = whole.firstRange(ofDoubleColon: ()) {
            guard let head = groups(whole[..<gap.lowerBound]), let tail = groups(whole[gap.upperBound...]),
                head.count + tail.count < 8
            else { return nil }
            all = head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
        } else {
            guard let found = groups(whole), found.count == 8 else { return nil }
            all = found
        }
        let words = all.map(UInt64.init)
        return (
            words[0] << 48 | words[1] << 32 | words[2] << 16 | words[3],
            words[4] << 48 | words[5] << 32 | words[6] << 16 | words[7]
        )
    }
}

extension Substring {
    fileprivate func firstRange(ofDoubleColon: Void) -> Range<Index>? {
        var index = startIndex
        while index < endIndex {
            let next = self.index(after: index)
            if self[index] == ":", next < endIndex, self[next] == ":" {
                return index..<self.index(after: next)
            }
            index = next
        }
        return nil
    }
}
