// Testnet
