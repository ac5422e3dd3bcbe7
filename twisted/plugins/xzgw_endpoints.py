"""Makes endpoint strings `fd:N` known to Twisted, for MQTT and the admin API."""

from xzgw.net.inherited import DescriptorParser

descriptor = DescriptorParser()
