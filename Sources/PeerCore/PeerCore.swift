// PeerCore
