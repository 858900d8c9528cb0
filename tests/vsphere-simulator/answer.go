// Writing SOAP results and faults.

package main

import (
	"bytes"
	"net/http"
	"reflect"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

const (
	envelopeHead = xml.Header + `<soapenv:Envelope xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/"` +
		` xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"` +
		` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>`
	envelopeTail = `</soapenv:Body></soapenv:Envelope>`
)

// result answers with value in an element of the given name.
func (c *call) result(name string, value interface{}) *answer {
	return &answer{
		status: http.StatusOK,
		header: http.Header{},
		body:   envelope("", element(value, xml.StartElement{Name: xml.Name{Space: "urn:vim25", Local: name}}), ""),
	}
}

// fault answers with a vSphere fault, which comes as HTTP 500.
func (c *call) fault(message string, fault types.BaseMethodFault) *answer {
	kind := reflect.TypeOf(fault).Elem().Name()
	detail := element(fault, xml.StartElement{
		Name: xml.Name{Local: kind + "Fault"},
		Attr: []xml.Attr{
			{Name: xml.Name{Local: "xmlns"}, Value: "urn:vim25"},
			{Name: xml.Name{Local: "xsi:type"}, Value: kind},
		},
	})
	var text bytes.Buffer
	_ = xml.EscapeText(&text, []byte(message))
	return &answer{
		status: http.StatusInternalServerError,
		header: http.Header{},
		body: envelope(
			`<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>`+text.String()+`</faultstring><detail>`,
			detail,
			`</detail></soapenv:Fault>`),
	}
}

func element(value interface{}, start xml.StartElement) []byte {
	var out bytes.Buffer
	encoder := xml.NewEncoder(&out)
	if err := encoder.EncodeElement(value, start); err != nil {
		panic(err) // a type of ours that cannot be encoded
	}
	if err := encoder.Flush(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func envelope(before string, content []byte, after string) []byte {
	return bytes.Join([][]byte{[]byte(envelopeHead + before), content, []byte(after + envelopeTail)}, nil)
}
