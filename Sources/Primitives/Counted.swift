/// `1 node`, `2 nodes`: a number with its noun, whose plural ends in `s`.
public func counted(_ number: some BinaryInteger, _ noun: String) -> String {
    "\(number) \(noun)\(number == 1 ? "" : "s")"
}
