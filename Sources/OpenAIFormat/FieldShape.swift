/// The shape that a field's value must have.
enum FieldShape: Sendable {
    case any, flag, text, list, object
    case number(ClosedRange<Double>)
    case whole(ClosedRange<Int64>)
    case word([String])

    /// What is wrong with a value, as the end of "`field` must be …"; nil: nothing.
    func problem(_ value: JSONTree) -> String? {
        switch self {
        case .any: return nil
        case .flag: return value.flag == nil ? "true or false" : nil
        case .text: return value.text == nil ? "text" : nil
        case .list: return value.elements == nil ? "a list" : nil
        case .object: return value.members == nil ? "an object" : nil
        case .number(let range):
            let isIn = value.real.map { range.contains($0) } ?? false
            return isIn
                ? nil : "a number from \(Self.plain(range.lowerBound)) to \(Self.plain(range.upperBound))"
        case .whole(let range):
            if case .number(let digits) = value, let number = value.real, number == number.rounded() {
                if let exact = Int64(digits) {
                    if range.contains(exact) { return nil }
                }
                // Seeds have 64 bits, with or without a sign.
                else if range.upperBound == .max, UInt64(digits) != nil {
                    return nil
                }
                // 1e3 is a whole number too.
                else if number >= Double(range.lowerBound), number <= Double(range.upperBound) {
                    return nil
                }
            }
            if range.lowerBound == .min { return "a whole number" }
            return range.upperBound == .max
                ? "a whole number, at least \(range.lowerBound)"
                : "a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .word(let words):
            return value.text.map { words.contains($0) } ?? false ? nil : words.joined(separator: " or ")
        }
    }

    private static func plain(_ number: Double) -> String {
        number == number.rounded() ? String(Int(number)) : String(number)
    }
}
