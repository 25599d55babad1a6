"""fnd_http_stream"""
