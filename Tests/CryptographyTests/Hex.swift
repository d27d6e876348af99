import Primitives

/// Published vectors are written in hexadecimal.
func hex(_ text: String) -> [UInt8] {
    var digits = text.compactMap { $0.hexDigitValue.map(UInt8.init) }
    var bytes: [UInt8] = []
    while digits.count >= 2 {
        bytes.append(digits[0] << 4 | digits[1])
        digits.removeFirst(2)
    }
    return bytes
}

func hex32(_ text: String) -> Bytes32 { Bytes32(hex(text)) ?? .zero }

func text(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
